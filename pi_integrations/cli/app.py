"""The commands and their options; what they do is in modules of their own."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pi_integrations.cli import engine_commands, job_commands, jobs_commands
from pi_integrations.cli.rows import Format, parse_columns
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
app.add_typer(job_commands.app, name="generate")
app.add_typer(jobs_commands.app, name="jobs")
_JUDGE = "baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME or object:MODULE:NAME, in this process."


def run() -> None:
    """Runs the command line; an error of ours is one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    # For object:MODULE:NAME; last, so that nothing of ours is ever found here instead.
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
    judge: Annotated[str, typer.Option(help=_JUDGE)] = "baseline",
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
    judge: Annotated[str | None, typer.Option(help=f"{_JUDGE} Without it, the configured service is asked.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Root of a Pi service; default PI_CLIENT_BASE_URL.")] = None,
    output: Annotated[
        Path, typer.Option(help="Scores, one JSON line a row; a broken run goes on where it stopped.")
    ] = Path("pi-scores.jsonl"),
    overwrite: Annotated[bool, typer.Option(help="Start anew when the output holds scores already.")] = False,
    report: Annotated[Path, typer.Option(help="HTML report.")] = Path("pi-report.html"),
    compare: Annotated[
        Path | None, typer.Option(help="Other answers to the same inputs (matched by id, else by input), side by side.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Exit with 1 when the mean total is below this.", min=0, max=1)
    ] = None,
    max_failures: Annotated[int, typer.Option(help="Exit with 3 when more rows than this got no score.", min=0)] = 0,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=NAME, such as llm_output=answer; repeatable.")] = None,
    format: Annotated[Format | None, typer.Option(help="jsonl or csv; default: by the file's name.")] = None,
    aggregation_method: Annotated[
        AggregationMethod | None, typer.Option(case_sensitive=False, help="Mean of a flat spec; default geometric.")
    ] = None,
    unscored: Annotated[
        str | None, typer.Option(help="error or partial: what to do about questions without a usable answer.")
    ] = None,
    max_concurrency: Annotated[int, typer.Option(help="Requests in flight at a time.", min=1)] = 32,
) -> None:
    """Score a file of exchanges, print a table, and write the scores and a report.

    Exit status: 0 done; 1 threshold missed; 2 wrong usage; 3 rows without a score.
    """
    from pi_integrations.cli.endpoint import Endpoint
    from pi_integrations.cli.score import Job, score_file

    endpoint = Endpoint(judge=judge, base_url=base_url, max_concurrency=max_concurrency, unscored=unscored)
    job = Job(
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
    raise typer.Exit(score_file(job, endpoint, threshold=threshold, max_failures=max_failures))


app.command()(engine_commands.serve)
app.command()(engine_commands.worker)
