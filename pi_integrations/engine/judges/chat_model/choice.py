"""Which reading a judge uses: configured, or settled once by its first answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from pi_integrations.errors import PiUsageError

__all__ = ["Reading", "ReadingChoice", "SettledReading"]

_log = logging.getLogger(__name__)

SettledReading = Literal["logprobs", "structured"]
Reading = Literal["auto", "logprobs", "structured"]


class ReadingChoice:
    """The reading in use. While it is open, one call finds out and calls that start meanwhile wait for it."""

    def __init__(self, reading: Reading, *, strict: bool) -> None:
        if reading not in ("auto", "logprobs", "structured"):
            raise PiUsageError(f'reading is "auto", "logprobs" or "structured", not {reading!r}')
        # Strict accepts no weaker reading, so there is nothing left to find out.
        self.settled: SettledReading | None = ("logprobs" if strict else None) if reading == "auto" else reading
        self._started = False
        self._first_over = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[SettledReading | None]:
        """The settled reading, or None for a call that has to find out and `settle` it; waits where one is finding out.

        When the first call ends without a finding (it was refused, say), those that waited go on side by side, each to
        find out for itself.
        """
        if self.settled is not None or self._started:
            if self.settled is None:
                await self._first_over.wait()
            yield self.settled
            return
        self._started = True
        try:
            yield None
        finally:
            self._first_over.set()

    def settle(self, reading: SettledReading, model: str) -> SettledReading:
        """Fixes the reading for the rest of the judge's life and returns the one in force: the first finding stands."""
        if self.settled is None:
            self.settled = reading
            _log.info("judge %s: reading %s", model, reading)
        return self.settled
