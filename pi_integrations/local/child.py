"""The engine in a process of its own, seen from inside: it ends when the process that wanted it does."""

from __future__ import annotations

import json
import logging
import os
import pickle
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO

from pi_integrations.engine.app import create_app
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.errors import PiUsageError
from pi_integrations.local.server import EngineServer, bound_sockets

__all__ = ["main"]

_LOOK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0
_LAST_SECONDS = 6.0


def main(orders: FileIO) -> None:
    """Serves as `orders`, this process's standard input, say, until told to stop there, or until it is closed."""
    size = int(orders.readline())
    parent, settings = pickle.loads(_exactly(orders, size))
    lifeline, report = _taken_from_the_standard_streams()
    logging.basicConfig(level=logging.WARNING, format="pi engine: %(levelname)s: %(message)s")
    # That jobs are taken over is what an engine beside is for; what fails is told by others too, and as an error.
    logging.getLogger("pi_integrations.engine.jobs.supervisor").setLevel(logging.ERROR)
    told = _Report(report)
    _follow(lifeline, parent, told)
    try:
        _serve(settings, told)
    except BaseException as error:
        if told.done or not isinstance(error, Exception):
            raise
        told.failed(error)
        if not isinstance(error, PiUsageError | ImportError):
            raise


def _exactly(orders: FileIO, size: int) -> bytes:
    read = b""
    while len(read) < size and (more := orders.read(size - len(read))):
        read += more
    return read


def _taken_from_the_standard_streams() -> tuple[int, int]:
    """Input and output under numbers of their own, so that nothing else reads the one or prints into the other."""
    lifeline, report = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return lifeline, report


class _Report:
    """The one line this process writes to the one that wanted it: its port, or why there is none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.done = False
        self.stop: Callable[[], None] | None = None

    def started(self, port: int) -> None:
        self._write({"port": port})

    def failed(self, error: Exception) -> None:
        kind = "usage" if isinstance(error, PiUsageError) else "import" if isinstance(error, ImportError) else "other"
        known = kind != "other"
        message = str(error) if known else f"the engine beside this process failed: {type(error).__name__}: {error}"
        self._write({"kind": kind, "message": message})

    def _write(self, report: dict[str, object]) -> None:
        self.done = True
        with suppress(OSError):
            os.write(self._descriptor, json.dumps(report).encode() + b"\n")
        os.close(self._descriptor)


def _serve(settings: EngineSettings, told: _Report) -> None:
    sockets = bound_sockets(settings.host, settings.port)
    port = sockets[0].getsockname()[1]
    server = EngineServer(
        create_app(settings),
        drain_seconds=_DRAIN_SECONDS,
        on_started=lambda: told.started(port),
        log_config=None,
        access_log=False,
        ws="none",
    )

    def stop() -> None:
        server.should_exit = True

    told.stop = stop
    server.run(sockets)


def _follow(lifeline: int, parent: int, told: _Report) -> None:
    """Stops this process when it is told to, or when the one that wanted it is gone."""

    def follow() -> None:
        # A copy of the other end, in a child of the parent, may keep this one open; hence the look at the parent.
        while not select.select([lifeline], [], [], _LOOK_SECONDS)[0] and os.getppid() == parent:
            pass
        if told.stop is not None:
            told.stop()
        # What hangs is not waited for: jobs go on from where they were anyway.
        time.sleep(_LAST_SECONDS)
        os._exit(1)

    threading.Thread(target=follow, name="pi-engine-lifeline", daemon=True).start()
