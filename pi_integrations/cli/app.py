"""The command line: `quickstart`, `score`, `serve` and `worker`, with their options; the work is done elsewhere."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pi_integrations.cli import job_commands
from pi_integrations.cli.records import RecordFormat
from pi_integrations.errors import PiError
from pi_integrations.models import AggregationMethod

__all__ = ["app", "run"]

app = typer.Typer(
    name="pi-integrations",
    help="Score LLM output with Pi, and generate data to score: with models of your own, or the hosted service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(job_commands.generate_app, name="generate")
app.add_typer(job_commands.jobs_app, name="jobs")
_JUDGE = "baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME or object:MODULE:NAME"
_GENERATOR = "What makes synthetic data: chat:PROVIDER:MODEL or object:MODULE:NAME."
_PRICE = "US dollars per million tokens of the generator."
_DATA_DIR = "Where jobs are kept; default: pi-integrations in your data directory."
_DATABASE = "Postgres to keep jobs in instead; with a password, set PI_ENGINE_DATABASE_URL, which ps does not show."
_RETENTION = "Days a job is kept after its end; 0 for ever."
_WEBHOOK_HOST = "HOST or HOST:PORT that jobs' webhooks may call; repeatable."
_Judge = Annotated[str | None, typer.Option(help=f"{_JUDGE}.")]
_Unscored = Annotated[str | None, typer.Option(help="error or partial, unless the caller chooses.")]
_Generator = Annotated[str | None, typer.Option(help=_GENERATOR)]
_Price = Annotated[str | None, typer.Option(metavar="INPUT,OUTPUT", help=_PRICE)]
_DataDir = Annotated[Path | None, typer.Option(help=_DATA_DIR)]
_Database = Annotated[str | None, typer.Option(help=_DATABASE)]
_Retention = Annotated[float | None, typer.Option(help=_RETENTION, min=0)]
_WebhookHost = Annotated[list[str] | None, typer.Option(help=_WEBHOOK_HOST)]


def run() -> None:
    """Runs the command line; a `PiError` becomes one line on standard error and exit status 2."""
    # A terminal with a narrow encoding shows question marks instead of ending the command.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    # For object:MODULE:NAME; last, so that no file here takes the place of an installed module.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except (PiError, ImportError) as error:
        errors.print("[bold red]error:[/]", end=" ")
        errors.print(str(error), markup=False)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        print(version("pi-integrations"))  # noqa: T201
        raise typer.Exit


@app.command()
def quickstart(
    judge: Annotated[str, typer.Option(help=f"{_JUDGE}, in this process.")] = "baseline",
    folder: Annotated[Path, typer.Option(help="Where the scores and the report go.")] = Path("pi-quickstart"),
) -> None:
    """Score forty handwritten support answers that come with this package; needs no account and no network."""
    from pi_integrations.cli.quickstart import run_quickstart

    raise typer.Exit(run_quickstart(judge, folder))


@app.command()
def score(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="JSONL or CSV with llm_input and llm_output; - is stdin.")
    ],
    spec: Annotated[Path, typer.Option(help="Scoring spec, JSON or YAML, of either generation.")],
    judge: Annotated[
        str | None, typer.Option(help=f"{_JUDGE}, in this process. Without it, the configured service is asked.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Root of a Pi service; default PI_CLIENT_BASE_URL.")] = None,
    output: Annotated[
        Path, typer.Option(help="Scores, one JSON line per row; an interrupted run continues there.")
    ] = Path("pi-scores.jsonl"),
    overwrite: Annotated[bool, typer.Option(help="Replace the scores that the output holds already.")] = False,
    report: Annotated[Path, typer.Option(help="HTML report.")] = Path("pi-report.html"),
    compare: Annotated[
        Path | None, typer.Option(help="Other answers to the same inputs (matched by id, else by input), side by side.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Exit with 1 when the mean total is below this.", min=0, max=1)
    ] = None,
    max_failures: Annotated[int, typer.Option(help="Exit with 3 when more rows than this have no score.", min=0)] = 0,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=NAME, such as llm_output=answer; repeatable.")] = None,
    format: Annotated[RecordFormat | None, typer.Option(help="jsonl or csv; default: by the file's name.")] = None,
    aggregation_method: Annotated[
        AggregationMethod | None, typer.Option(case_sensitive=False, help="Mean of a flat spec; default geometric.")
    ] = None,
    unscored: Annotated[str | None, typer.Option(help="Questions without a usable answer: error or partial.")] = None,
    max_concurrency: Annotated[int, typer.Option(help="Requests in flight at a time.", min=1)] = 32,
) -> None:
    """Score a file of exchanges, print a table, and write the scores and a report.

    Exit status: 0 done; 1 threshold missed; 2 wrong usage; 3 rows without a score.
    """
    from pi_integrations.cli.endpoints import ScoreEndpoint
    from pi_integrations.cli.rows import parse_columns
    from pi_integrations.cli.score import ScoreRun, score_file

    endpoint = ScoreEndpoint(judge=judge, base_url=base_url, max_concurrency=max_concurrency, unscored=unscored)
    run = ScoreRun(
        source=source,
        spec_path=spec,
        output=output,
        report=report,
        format=format,
        columns=parse_columns(column or []),
        aggregation_method=aggregation_method,
        overwrite=overwrite,
        compare=compare,
    )
    raise typer.Exit(score_file(run, endpoint, threshold=threshold, max_failures=max_failures))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; beyond loopback only with keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
    judge: _Judge = None,
    api_key: Annotated[list[str] | None, typer.Option(help="A key callers may send; repeatable.")] = None,
    unscored: _Unscored = None,
    generator: _Generator = None,
    generator_price: _Price = None,
    data_dir: _DataDir = None,
    database_url: _Database = None,
    retention_days: _Retention = None,
    webhook_host: _WebhookHost = None,
    no_jobs: Annotated[bool, typer.Option("--no-jobs", help="Score only: keep and run no jobs.")] = False,
) -> None:
    """Answer the Pi API on this machine. Options left out come from the PI_ENGINE_* variables."""
    from pi_integrations.cli.engine_options import EngineOptions
    from pi_integrations.cli.serve import run_engine

    options = EngineOptions(
        host=host,
        port=port,
        judge=judge,
        api_keys=tuple(api_key or ()),
        unscored=unscored,
        generator=generator,
        generator_price=generator_price,
        data_dir=data_dir,
        database_url=database_url,
        retention_days=retention_days,
        webhook_hosts=tuple(webhook_host or ()),
        jobs=not no_jobs,
    )
    run_engine(options)


@app.command()
def worker(
    judge: _Judge = None,
    unscored: _Unscored = None,
    generator: _Generator = None,
    generator_price: _Price = None,
    data_dir: _DataDir = None,
    database_url: _Database = None,
    retention_days: _Retention = None,
    webhook_host: _WebhookHost = None,
) -> None:
    """Work on the jobs of an engine's database, without a port: one more process, or one more machine."""
    from pi_integrations.cli.engine_options import EngineOptions
    from pi_integrations.cli.serve import run_worker

    options = EngineOptions(
        judge=judge,
        unscored=unscored,
        generator=generator,
        generator_price=generator_price,
        data_dir=data_dir,
        database_url=database_url,
        retention_days=retention_days,
        webhook_hosts=tuple(webhook_host or ()),
    )
    run_worker(options)
