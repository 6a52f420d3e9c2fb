"""The options of `jobs list`, `show`, `follow` and `cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pi_integrations.models import JobState

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="As `jobs list` shows it.")]
_BaseUrl = Annotated[str | None, typer.Option(help="Root of a Pi service; default PI_CLIENT_BASE_URL.")]
_DataDir = Annotated[Path | None, typer.Option(help="Instead: the jobs that `generate --generator` keeps there.")]


@app.callback()
def _root() -> None:
    """Look at your jobs, follow them, cancel them."""


@app.command("list")
def list_(
    state: Annotated[JobState | None, typer.Option(case_sensitive=False, help="Only those in this state.")] = None,
    base_url: _BaseUrl = None,
    data_dir: _DataDir = None,
) -> None:
    """Your jobs of every kind, newest first."""
    from pi_integrations.cli.jobs import list_jobs

    raise typer.Exit(list_jobs(_endpoint(base_url, data_dir), state))


@app.command()
def show(job_id: _JobId, base_url: _BaseUrl = None, data_dir: _DataDir = None) -> None:
    """A job's state, figures and last messages."""
    from pi_integrations.cli.jobs import show_job

    raise typer.Exit(show_job(_endpoint(base_url, data_dir), job_id))


@app.command()
def follow(
    job_id: _JobId,
    data: Annotated[bool, typer.Option("--data", help="Its rows, as JSON lines, instead of its messages.")] = False,
    base_url: _BaseUrl = None,
    data_dir: _DataDir = None,
) -> None:
    """A job's messages from the first on, until it ends. Exit status: 0 it is DONE; 3 it is not."""
    from pi_integrations.cli.jobs import follow_job

    raise typer.Exit(follow_job(_endpoint(base_url, data_dir), job_id, data=data))


@app.command()
def cancel(job_id: _JobId, base_url: _BaseUrl = None, data_dir: _DataDir = None) -> None:
    """End a job; what it made is kept."""
    from pi_integrations.cli.jobs import cancel_job

    raise typer.Exit(cancel_job(_endpoint(base_url, data_dir), job_id))


def _endpoint(base_url: str | None, data_dir: Path | None) -> Any:
    from pi_integrations.cli.endpoints import JobEndpoint

    return JobEndpoint(base_url=base_url, data_dir=data_dir)
