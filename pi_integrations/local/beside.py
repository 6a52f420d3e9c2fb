"""A channel to an engine in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pi_integrations.client.transport import Answer, ByteStream, HttpChannel
from pi_integrations.local.engine_process import EngineProcess

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["EngineBeside"]

_STOP_SECONDS = 8.0


class EngineBeside:
    """Starts an engine with the first request, starts it anew should it die, and stops it with `aclose`.

    Args:
        settings: The engine's; judge and generator are strings.
        max_connections: Requests in flight at a time.
    """

    def __init__(self, settings: EngineSettings, *, max_connections: int) -> None:
        self._settings = settings
        self._max_connections = max_connections
        self._changing = asyncio.Lock()
        self._process: EngineProcess | None = None
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
        """The way to the engine, which takes requests now.

        Raises:
            PiUsageError: what the engine says against its settings.
            ImportError: when it lacks a package.
            PiConnectionError: when it did not come up for another reason.
        """
        if self._http is not None and self._process is not None and self._process.alive:
            return self._http
        async with self._changing:
            if self._http is None or self._process is None or not self._process.alive:
                await self._stop()
                self._http = await self._fresh()
            return self._http

    async def _fresh(self) -> HttpChannel:
        self._process = EngineProcess(self._settings)
        try:
            port = await asyncio.wrap_future(self._process.port)
        except BaseException:
            await self._stop()
            raise
        return HttpChannel(f"http://127.0.0.1:{port}", max_connections=self._max_connections)

    async def aclose(self) -> None:
        """Stops the engine; a later request starts another. Its jobs stay where they are."""
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
