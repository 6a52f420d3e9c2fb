"""Judges that show how they are called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from pi_integrations.testing import Exchange, ScriptedJudge, Verdict


class CountingJudge(ScriptedJudge):
    """Knows how many exchanges it was asked about at the same time, at most."""

    now = 0
    peak = 0

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """The script's verdicts."""
        self.now += 1
        self.peak = max(self.peak, self.now)
        verdicts = await super().answer(exchange, questions)
        self.now -= 1
        return verdicts


class StuckJudge(ScriptedJudge):
    """Never answers; `called` and `cancelled` are set when it is."""

    def __init__(self) -> None:
        super().__init__(default=0.5)
        self.called = threading.Event()
        self.cancelled = threading.Event()

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """Waits until it is cancelled."""
        self.called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return []
