"""`serve` and `worker`: an engine in this process, with a port or without."""

from __future__ import annotations

import asyncio
import gc
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pi_integrations.cli import errors
from pi_integrations.cli.engine_options import EngineOptions, where_jobs_are

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pi_integrations.engine.jobs.family import FamilyWork
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["run_engine", "run_worker"]


def run_engine(options: EngineOptions) -> None:
    """Serves until interrupted or terminated.

    Raises:
        PiUsageError: for wrong settings, or when the engine would listen beyond loopback without keys.
        ImportError: when the `engine` extra, or the judge's, is not installed.
    """
    settings = options.settings()
    settings.check_binding()
    from pi_integrations.local.server import EngineServer, bound_sockets

    # Before anything that takes long, or that touches jobs.
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bound_sockets(settings.host, settings.port)]
        port = sockets[0].getsockname()[1]  # --port 0 lets the system choose
        server = EngineServer(
            _app(settings), drain_seconds=settings.drain_seconds, on_started=lambda: _say_who_serves(settings, port)
        )
        server.run(sockets)


def _say_who_serves(settings: EngineSettings, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    keys = f"{len(settings.api_keys)} key(s)" if settings.api_keys else "no keys: this machine only"
    _say(f"Pi engine at http://{host}:{port}, judge {settings.judge}, {keys}. Stop it with Ctrl+C.")
    _say(f"It {where_jobs_are(settings)}; {_generator(settings)}.")


def run_worker(options: EngineOptions) -> None:
    """Works on the jobs of a database until interrupted or terminated.

    Raises:
        PiUsageError: for wrong settings.
        ImportError: when the `engine` extra, or the judge's or the generator's, is not installed.
    """
    settings = options.settings()
    from pi_integrations.local.server import run_without_port

    app = _app(settings)
    works: list[FamilyWork[Any]] = app.state.works

    def started() -> None:
        able = ", ".join(work.path for work in works if work.missing is None)
        _say(f"Pi worker for {able}; judge {settings.judge}, {_generator(settings)}.")
        for work in works:
            if work.missing is not None:
                _say(f"It leaves {work.path} to other workers: {work.missing}.")
        _say(f"It {where_jobs_are(settings)}. Stop it with Ctrl+C; its jobs then continue elsewhere.")

    asyncio.run(run_without_port(app, started))


def _app(settings: EngineSettings) -> FastAPI:
    from pi_integrations.engine.app import create_app

    app = create_app(settings)
    # What start-up made stays for good. Unfrozen, every full collection would walk it, and requests would wait 50 ms.
    gc.collect()  # first: garbage that is frozen is never freed
    gc.freeze()
    return app


def _generator(settings: EngineSettings) -> str:
    return f"generator {settings.generator}" if settings.generator else "it has no generator (--generator)"


def _say(text: str) -> None:
    errors().print(text, markup=False)
