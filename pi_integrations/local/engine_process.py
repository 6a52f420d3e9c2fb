"""An engine in a process of its own, and the client's channel to it."""

from __future__ import annotations

import asyncio
import pickle
import threading
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from pi_integrations.client.transport import Answer, ByteStream, HttpChannel
from pi_integrations.engine.processes import ChildEnded, ChildFailed, ChildProcess
from pi_integrations.errors import PiConnectionError, PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["EngineProcessChannel"]

_TARGET = "pi_integrations.local.server:serve_for_parent"
# Longer than the 6 s after which the child ends itself by force.
_STOP_SECONDS = 8.0


class EngineProcessChannel:
    """A channel to an engine process: started with the first request, again if it dies, and stopped with `aclose`.

    Args:
        settings: The engine's; its judge and generator are strings.
        max_connections: Requests in flight at a time.
    """

    def __init__(self, settings: EngineSettings, *, max_connections: int) -> None:
        self._settings = settings
        self._max_connections = max_connections
        self._changing = asyncio.Lock()
        self._process: _EngineProcess | None = None
        self._http: HttpChannel | None = None

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """See `Channel.send`."""
        channel = await self.start()
        return await channel.send(method, path, headers=headers, body=body, timeout=timeout)

    async def open(self, method: str, path: str, *, headers: Mapping[str, str], timeout: float) -> ByteStream:
        """See `Channel.open`."""
        channel = await self.start()
        return await channel.open(method, path, headers=headers, timeout=timeout)

    async def start(self) -> HttpChannel:
        """The channel to the engine, once it takes requests.

        Raises:
            PiUsageError: when the engine refuses its settings.
            ImportError: when it lacks a package.
            PiConnectionError: when it did not start for another reason.
        """
        if self._http is not None and self._process is not None and self._process.alive:
            return self._http
        async with self._changing:
            if self._http is None or self._process is None or not self._process.alive:
                await self._stop()
                self._http = await self._fresh()
            return self._http

    async def _fresh(self) -> HttpChannel:
        self._process = _EngineProcess(self._settings)
        try:
            port = await asyncio.wrap_future(self._process.port)
        except BaseException:
            await self._stop()
            raise
        return HttpChannel(f"http://127.0.0.1:{port}", max_connections=self._max_connections)

    async def aclose(self) -> None:
        """Stops the engine; its jobs are kept, and a later request starts another engine."""
        async with self._changing:
            await self._stop()

    async def _stop(self) -> None:
        http, self._http = self._http, None
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        if http is not None:
            await http.aclose()
        if process is not None:
            ended = asyncio.wrap_future(process.ended)
            if not (await asyncio.wait([ended], timeout=_STOP_SECONDS))[0]:
                process.kill()
                await ended


class _EngineProcess:
    """An engine process, started at once; thread-safe.

    Attributes:
        port: Its port on 127.0.0.1 once it takes requests, or why it does not.
        ended: Its exit status, once it has ended.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.port: Future[int] = Future()
        self.ended: Future[int | None] = Future()
        for future in (self.port, self.ended):
            # So that a waiter that gives up does not cancel it for the others.
            future.set_running_or_notify_cancel()
        self._child = ChildProcess(_TARGET)
        # In the order rather than in arguments: the settings hold the engine's key.
        order = {"settings": b64encode(pickle.dumps(settings)).decode()}
        threading.Thread(target=self._watch, args=(order,), name="pi-engine-watch", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self.ended.done()

    def stop(self) -> None:
        """Asks it to stop, which takes seconds; one that takes no requests yet is killed."""
        if not self.port.done():
            self._child.kill()
        self._child.request_stop()

    def kill(self) -> None:
        """Ends it at once."""
        self._child.kill()

    def _watch(self, order: dict[str, str]) -> None:
        """Starts the process and waits for its end, so that it never is a zombie."""
        try:
            self.port.set_result(self._child.start(order)["port"])
        except (PiUsageError, ImportError) as error:
            self.port.set_exception(error)
        except ChildEnded as error:
            self.port.set_exception(
                PiConnectionError(f"the engine process {error} before it took requests; standard error has its output")
            )
        except (ChildFailed, OSError) as error:
            self.port.set_exception(PiConnectionError(f"the engine process could not be started: {error}"))
        self.ended.set_result(self._child.wait() if self._child.started else None)
