"""An engine's app as a whole process: on a port, with its jobs alone, or for the process that started it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pickle
import signal
import socket
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from pi_integrations.engine.app import create_app
from pi_integrations.engine.parent_process import ParentProcess
from pi_integrations.errors import PiUsageError

__all__ = ["EngineServer", "bound_sockets", "run_without_port", "serve_for_parent"]

Stop = Callable[[int, FrameType | None], Any]
# Well within the 6 s after which a child ends itself by force.
_CHILD_DRAIN_SECONDS = 2.0
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class EngineServer(uvicorn.Server):
    """Serves an app made by `create_app`, lifespan included, until SIGINT or SIGTERM; a second SIGINT skips the wait.

    To stop, it takes no more connections, ends the streams that clients follow (they reconnect for the rest), finishes
    the requests in flight, and then ends the app's lifespan, in which jobs stop where they are.

    Args:
        drain_seconds: How long to wait for requests in flight.
        on_started: Called once the server takes requests.
        config: See `uvicorn.Config`.
    """

    def __init__(self, app: FastAPI, *, drain_seconds: float, on_started: Callable[[], None], **config: Any) -> None:
        drain = int(drain_seconds)
        # Lifespan off: `serve` runs it itself, so that its errors arrive as they are and signals reach it.
        super().__init__(
            uvicorn.Config(app, lifespan="off", timeout_graceful_shutdown=drain, server_header=False, **config)
        )
        self._app = app
        self._on_started = on_started

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves on `sockets`; raises the lifespan's errors as they are."""
        async with _running(self._app, self.handle_exit):
            await super().serve(sockets)

    def capture_signals(self) -> Any:
        """Does nothing: signals are handled for the whole lifespan, which uvicorn's own handlers would cut short."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes requests from now on."""
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, then everything that uvicorn ends."""
        if self._app.state.end_streams is not None:
            await self._app.state.end_streams()
        await super().shutdown(sockets)


async def run_without_port(app: FastAPI, on_started: Callable[[], None]) -> None:
    """Runs the lifespan of an app made by `create_app`, and so its jobs, until SIGINT or SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    async with _running(app, lambda number, frame: loop.call_soon_threadsafe(stop.set)):
        on_started()
        await stop.wait()


def serve_for_parent(parent: ParentProcess) -> None:
    """Serves with the settings in the parent's order, until the parent asks to stop or is gone; runs in a child."""
    settings = pickle.loads(b64decode(parent.receive()["settings"]))
    logging.basicConfig(level=logging.WARNING, format="pi engine: %(levelname)s: %(message)s")
    # It warns whenever jobs of an engine that died are resumed, which is what this engine is for.
    logging.getLogger("pi_integrations.engine.jobs.supervisor").setLevel(logging.ERROR)
    sockets = bound_sockets(settings.host, settings.port)
    port = sockets[0].getsockname()[1]
    server = EngineServer(
        create_app(settings),
        drain_seconds=_CHILD_DRAIN_SECONDS,
        on_started=lambda: parent.ready(port=port),
        log_config=None,
        access_log=False,
        ws="none",
    )

    def stop() -> None:
        server.should_exit = True

    parent.on_stop(stop)
    server.run(sockets)


@asynccontextmanager
async def _running(app: FastAPI, stop: Stop) -> AsyncIterator[None]:
    """The app's lifespan; from its start to its end, SIGINT and SIGTERM call `stop`."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        with _signals(stop):
            yield
            await stack.aclose()


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, or to the first when `port` is 0; they refuse connections until served.

    Raises:
        PiUsageError: when an address is taken, or not one of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        return _bound(addresses if port else addresses[:1])
    except OSError as error:
        raise PiUsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; give another --host or --port"
        ) from None


def _bound(addresses: Sequence[tuple[int, Any]]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for number, (family, address) in enumerate(addresses, start=1):
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            # On Windows this option would let two engines share a port.
            if os.name == "posix":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
        except OSError as error:
            made.close()
            # A name may stand for addresses of a family that is switched off here.
            if error.errno in _ABSENT and (sockets or number < len(addresses)):
                continue
            for each in sockets:
                each.close()
            raise
        sockets.append(made)
    return sockets
