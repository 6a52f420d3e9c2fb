"""The options of `serve` and `worker`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve", "worker"]

_JUDGE = "baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME or object:MODULE:NAME."
_GENERATOR = "What makes synthetic data: chat:PROVIDER:MODEL or object:MODULE:NAME."
_PRICE = "US dollars per million tokens of the generator."
_DATA_DIR = "Where jobs are kept; default: pi-integrations in your data directory."
_DATABASE = "Postgres to keep jobs in instead; with a password, set PI_ENGINE_DATABASE_URL, which ps does not show."
_RETENTION = "Days a job is kept after its end; 0 for ever."
_WEBHOOK_HOST = "HOST or HOST:PORT that jobs may tell of their end; repeatable."


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; beyond loopback only with keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
    judge: Annotated[str | None, typer.Option(help=_JUDGE)] = None,
    api_key: Annotated[list[str] | None, typer.Option(help="A key callers may send; repeatable.")] = None,
    unscored: Annotated[str | None, typer.Option(help="error or partial, unless the caller says.")] = None,
    generator: Annotated[str | None, typer.Option(help=_GENERATOR)] = None,
    generator_price: Annotated[str | None, typer.Option(metavar="INPUT,OUTPUT", help=_PRICE)] = None,
    data_dir: Annotated[Path | None, typer.Option(help=_DATA_DIR)] = None,
    database_url: Annotated[str | None, typer.Option(help=_DATABASE)] = None,
    retention_days: Annotated[float | None, typer.Option(help=_RETENTION, min=0)] = None,
    webhook_host: Annotated[list[str] | None, typer.Option(help=_WEBHOOK_HOST)] = None,
    no_jobs: Annotated[bool, typer.Option("--no-jobs", help="Score only: keep and run no jobs.")] = False,
) -> None:
    """Answer the Pi API on this machine. What is not given comes from the PI_ENGINE_* variables."""
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


def worker(
    judge: Annotated[str | None, typer.Option(help=_JUDGE)] = None,
    unscored: Annotated[str | None, typer.Option(help="error or partial, unless the caller says.")] = None,
    generator: Annotated[str | None, typer.Option(help=_GENERATOR)] = None,
    generator_price: Annotated[str | None, typer.Option(metavar="INPUT,OUTPUT", help=_PRICE)] = None,
    data_dir: Annotated[Path | None, typer.Option(help=_DATA_DIR)] = None,
    database_url: Annotated[str | None, typer.Option(help=_DATABASE)] = None,
    retention_days: Annotated[float | None, typer.Option(help=_RETENTION, min=0)] = None,
    webhook_host: Annotated[list[str] | None, typer.Option(help=_WEBHOOK_HOST)] = None,
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
