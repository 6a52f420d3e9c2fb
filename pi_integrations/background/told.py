"""What a coroutine awaits of another thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Told"]


class Told:
    """An event of the running loop that any thread may set, at any time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        """Wakes whoever waits."""
        with suppress(RuntimeError):  # the loop was closed, and nobody waits
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it was set within `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()
