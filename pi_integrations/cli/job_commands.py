"""The options of `generate pairs` and `generate inputs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pi_integrations.cli.rows import parse_columns
from pi_integrations.models import ExplorationMode

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_Num = Annotated[int | None, typer.Option(help="How many new ones to make.", min=1)]
_Seeds = Annotated[Path | None, typer.Option(help="JSONL or CSV to start from; without it, seeds are invented.")]
_Column = Annotated[
    list[str] | None, typer.Option(help="FIELD=NAME for --seeds, such as llm_input=question; repeatable.")
]
_Description = Annotated[str | None, typer.Option(help="What the application does; @FILE reads it from a file.")]
_BatchSize = Annotated[int | None, typer.Option(help="Items asked of the model in one call.", min=1)]
_NumShots = Annotated[int | None, typer.Option(help="Examples shown to the model in one call.", min=0)]
_Mode = Annotated[ExplorationMode | None, typer.Option(case_sensitive=False, help="How far to stray from the seeds.")]
_MaxCost = Annotated[float | None, typer.Option(help="Stop before the model's calls cost more, in US dollars.")]
_Parallel = Annotated[bool, typer.Option("--parallel", help="Make several batches at a time.")]
_Webhook = Annotated[str | None, typer.Option(help="Told when the job ends, if its host is allowed.")]
_Output = Annotated[Path, typer.Option(help="Rows, one JSON line each; added to what is there; - is stdout.")]
_Job = Annotated[str | None, typer.Option(metavar="JOB_ID", help="Go on with this job instead of starting one.")]
_Generator = Annotated[
    str | None,
    typer.Option(help="Start an engine here with chat:PROVIDER:MODEL or object:MODULE:NAME; else a service is asked."),
]
_Price = Annotated[
    str | None, typer.Option(metavar="INPUT,OUTPUT", help="US dollars per million tokens of --generator.")
]
_Judge = Annotated[str | None, typer.Option(help="Judge of the engine started here, for --spec; default baseline.")]
_DataDir = Annotated[Path | None, typer.Option(help="Where the engine started here keeps its jobs.")]
_BaseUrl = Annotated[str | None, typer.Option(help="Root of a Pi service; default PI_CLIENT_BASE_URL.")]


@app.callback()
def _root() -> None:
    """Make synthetic data out of a description and a few seeds."""


@app.command()
def pairs(
    num: _Num = None,
    seeds: _Seeds = None,
    column: _Column = None,
    description: _Description = None,
    system_prompt: Annotated[
        str | None, typer.Option(help="The application's own, which then answers the inputs; @FILE reads a file.")
    ] = None,
    batch_size: _BatchSize = None,
    num_shots: _NumShots = None,
    exploration_mode: _Mode = None,
    spec: Annotated[Path | None, typer.Option(help="Scoring spec, JSON or YAML, that judges each pair.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Lowest total a pair may have.", min=0, max=1)] = None,
    max_cost_usd: _MaxCost = None,
    parallel: _Parallel = False,
    webhook_url: _Webhook = None,
    output: _Output = Path("pi-pairs.jsonl"),
    job: _Job = None,
    generator: _Generator = None,
    generator_price: _Price = None,
    judge: _Judge = None,
    data_dir: _DataDir = None,
    base_url: _BaseUrl = None,
) -> None:
    """Make inputs with the responses to them.

    Exit status: 0 done; 2 wrong usage; 3 the job failed, or made fewer than asked for; 130 interrupted.
    """
    from pi_integrations.cli.generation import run_generation
    from pi_integrations.cli.generation_plan import PairsPlan

    others = _others(batch_size, num_shots, exploration_mode, max_cost_usd, parallel, webhook_url)
    plan = PairsPlan(
        num=num,
        seeds=seeds,
        columns=parse_columns(column or []),
        description=description,
        system_prompt=system_prompt,
        spec=spec,
        others=others | {"min_score": min_score},
    )
    endpoint = _endpoint(generator, generator_price, judge, data_dir, base_url)
    raise typer.Exit(run_generation(plan, endpoint, output, job_id=job))


@app.command()
def inputs(
    num: _Num = None,
    seeds: _Seeds = None,
    column: _Column = None,
    description: _Description = None,
    batch_size: _BatchSize = None,
    num_shots: _NumShots = None,
    exploration_mode: _Mode = None,
    max_cost_usd: _MaxCost = None,
    parallel: _Parallel = False,
    webhook_url: _Webhook = None,
    output: _Output = Path("pi-inputs.jsonl"),
    job: _Job = None,
    generator: _Generator = None,
    generator_price: _Price = None,
    judge: _Judge = None,
    data_dir: _DataDir = None,
    base_url: _BaseUrl = None,
) -> None:
    """Make inputs alone.

    Exit status: 0 done; 2 wrong usage; 3 the job failed, or made fewer than asked for; 130 interrupted.
    """
    from pi_integrations.cli.generation import run_generation
    from pi_integrations.cli.generation_plan import InputsPlan

    others = _others(batch_size, num_shots, exploration_mode, max_cost_usd, parallel, webhook_url)
    plan = InputsPlan(num=num, seeds=seeds, columns=parse_columns(column or []), description=description, others=others)
    endpoint = _endpoint(generator, generator_price, judge, data_dir, base_url)
    raise typer.Exit(run_generation(plan, endpoint, output, job_id=job))


def _others(
    batch_size: int | None,
    num_shots: int | None,
    exploration_mode: ExplorationMode | None,
    max_cost_usd: float | None,
    parallel: bool,
    webhook_url: str | None,
) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "num_shots": num_shots,
        "exploration_mode": exploration_mode,
        "max_cost_usd": max_cost_usd,
        "run_parallel_batches": parallel or None,
        "webhook_url": webhook_url,
    }


def _endpoint(
    generator: str | None, generator_price: str | None, judge: str | None, data_dir: Path | None, base_url: str | None
) -> Any:
    from pi_integrations.cli.endpoints import JobEndpoint

    return JobEndpoint(
        generator=generator, generator_price=generator_price, judge=judge, data_dir=data_dir, base_url=base_url
    )
