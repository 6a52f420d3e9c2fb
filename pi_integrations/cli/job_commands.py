"""The commands of `generate` and `jobs`, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pi_integrations.models import ExplorationMode, JobState

__all__ = ["generate_app", "jobs_app"]

generate_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
jobs_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_Num = Annotated[int | None, typer.Option(help="Number of new items.", min=1)]
_Seeds = Annotated[Path | None, typer.Option(help="JSONL or CSV to start from; without it, seeds are invented.")]
_Column = Annotated[
    list[str] | None, typer.Option(help="FIELD=NAME for --seeds, such as llm_input=question; repeatable.")
]
_Description = Annotated[str | None, typer.Option(help="What the application does; @FILE reads it from a file.")]
_BatchSize = Annotated[int | None, typer.Option(help="Items requested in one model call.", min=1)]
_NumShots = Annotated[int | None, typer.Option(help="Examples in one model call.", min=0)]
_Mode = Annotated[ExplorationMode | None, typer.Option(case_sensitive=False, help="How far to stray from the seeds.")]
_MaxCost = Annotated[float | None, typer.Option(help="Most that the model's calls may cost, in US dollars.")]
_Parallel = Annotated[bool, typer.Option("--parallel", help="Make several batches at a time.")]
_Webhook = Annotated[str | None, typer.Option(help="URL called when the job ends, if the engine allows its host.")]
_Output = Annotated[Path, typer.Option(help="Rows, one JSON line each, appended; - is stdout.")]
_Job = Annotated[str | None, typer.Option(metavar="JOB_ID", help="Continue this job instead of starting one.")]
_Generator = Annotated[
    str | None,
    typer.Option(help="Start an engine here with chat:PROVIDER:MODEL or object:MODULE:NAME; else use a service."),
]
_Price = Annotated[
    str | None, typer.Option(metavar="INPUT,OUTPUT", help="US dollars per million tokens of --generator.")
]
_Judge = Annotated[str | None, typer.Option(help="Judge of the engine started here, for --spec; default baseline.")]
_DataDir = Annotated[Path | None, typer.Option(help="Where the engine started here keeps its jobs.")]
_BaseUrl = Annotated[str | None, typer.Option(help="Root of a Pi service; default PI_CLIENT_BASE_URL.")]
_JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="As `jobs list` shows it.")]
_JobsDir = Annotated[Path | None, typer.Option(help="Instead: jobs that `generate --generator` keeps in this folder.")]


@generate_app.callback()
def _generate() -> None:
    """Make synthetic data out of a description and a few seeds."""


@generate_app.command()
def pairs(
    num: _Num = None,
    seeds: _Seeds = None,
    column: _Column = None,
    description: _Description = None,
    system_prompt: Annotated[
        str | None, typer.Option(help="The application's own, used to answer the inputs; @FILE reads a file.")
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

    Exit status: 0 done; 2 wrong usage; 3 the job failed, or made fewer than requested; 130 interrupted.
    """
    from pi_integrations.cli.generation import run_generation
    from pi_integrations.cli.generation_plan import PairsPlan
    from pi_integrations.cli.rows import parse_columns

    settings = _settings(batch_size, num_shots, exploration_mode, max_cost_usd, parallel, webhook_url)
    plan = PairsPlan(
        num=num,
        seeds=seeds,
        columns=parse_columns(column or []),
        description=description,
        system_prompt=system_prompt,
        spec=spec,
        settings=settings | {"min_score": min_score},
    )
    endpoint = _endpoint(
        generator=generator, generator_price=generator_price, judge=judge, data_dir=data_dir, base_url=base_url
    )
    raise typer.Exit(run_generation(plan, endpoint, output, job_id=job))


@generate_app.command()
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

    Exit status: 0 done; 2 wrong usage; 3 the job failed, or made fewer than requested; 130 interrupted.
    """
    from pi_integrations.cli.generation import run_generation
    from pi_integrations.cli.generation_plan import InputsPlan
    from pi_integrations.cli.rows import parse_columns

    settings = _settings(batch_size, num_shots, exploration_mode, max_cost_usd, parallel, webhook_url)
    plan = InputsPlan(
        num=num, seeds=seeds, columns=parse_columns(column or []), description=description, settings=settings
    )
    endpoint = _endpoint(
        generator=generator, generator_price=generator_price, judge=judge, data_dir=data_dir, base_url=base_url
    )
    raise typer.Exit(run_generation(plan, endpoint, output, job_id=job))


def _settings(
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


@jobs_app.callback()
def _jobs() -> None:
    """Look at your jobs, follow them, cancel them."""


@jobs_app.command("list")
def list_(
    state: Annotated[JobState | None, typer.Option(case_sensitive=False, help="Only those in this state.")] = None,
    base_url: _BaseUrl = None,
    data_dir: _JobsDir = None,
) -> None:
    """List your jobs of every kind, newest first."""
    from pi_integrations.cli.jobs import list_jobs

    raise typer.Exit(list_jobs(_endpoint(base_url=base_url, data_dir=data_dir), state))


@jobs_app.command()
def show(job_id: _JobId, base_url: _BaseUrl = None, data_dir: _JobsDir = None) -> None:
    """Print a job's state, figures and last messages."""
    from pi_integrations.cli.jobs import show_job

    raise typer.Exit(show_job(_endpoint(base_url=base_url, data_dir=data_dir), job_id))


@jobs_app.command()
def follow(
    job_id: _JobId,
    data: Annotated[bool, typer.Option("--data", help="Its rows, as JSON lines, instead of its messages.")] = False,
    base_url: _BaseUrl = None,
    data_dir: _JobsDir = None,
) -> None:
    """Print a job's messages from the first on, until it ends. Exit status: 0 when it is DONE, else 3."""
    from pi_integrations.cli.jobs import follow_job

    raise typer.Exit(follow_job(_endpoint(base_url=base_url, data_dir=data_dir), job_id, data=data))


@jobs_app.command()
def cancel(job_id: _JobId, base_url: _BaseUrl = None, data_dir: _JobsDir = None) -> None:
    """End a job; it keeps what it has made."""
    from pi_integrations.cli.jobs import cancel_job

    raise typer.Exit(cancel_job(_endpoint(base_url=base_url, data_dir=data_dir), job_id))


def _endpoint(**options: Any) -> Any:
    from pi_integrations.cli.endpoints import JobEndpoint

    return JobEndpoint(**options)
