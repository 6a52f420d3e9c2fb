"""Generates: batches side by side, dealt with one after the other, each in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pi_integrations.engine.chat_models.prices import Prices
from pi_integrations.engine.jobs.family import JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.synthesis.accepted_items import Kept, Likeness
from pi_integrations.engine.synthesis.asking import Generator
from pi_integrations.engine.synthesis.calls import Calls
from pi_integrations.engine.synthesis.embedding import Embedder, Vectors
from pi_integrations.engine.synthesis.items import Brief, well_formed
from pi_integrations.engine.synthesis.ledger import Bill, CeilingReached, Ledger
from pi_integrations.engine.synthesis.patience import Patience
from pi_integrations.engine.synthesis.preparation import Grounds, prepare
from pi_integrations.engine.synthesis.state import State
from pi_integrations.engine.synthesis.window import Dealt, Window
from pi_integrations.errors import PiError

__all__ = ["Generation", "Tools"]

# Figures of diversity are computed when so many times more items are kept than the last time.
_GROWTH = 1.5
# Seconds between two commits of what the batches under way have cost.
_PAID_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What all jobs of an engine generate with.

    Attributes:
        generator: Writes.
        service: Scores, for jobs with a scoring spec.
        embedder: Tells inputs of like meaning, where there is one.
        patience: With failures that may pass.
        prices: US dollars per million tokens of the generator, where known.
        window: Batches under way at a time, in jobs that ask for parallel batches.
        barren_batches: How many batches in a row may bring nothing before a job ends.
        likeness: What counts as a near-duplicate.
    """

    generator: Generator
    service: ScoreService | None
    embedder: Embedder | None
    patience: Patience
    prices: Prices | None
    window: int
    barren_batches: int
    likeness: Likeness


class Generation:
    """One life of a job that generates."""

    def __init__(self, brief: Brief, run: Run, tools: Tools) -> None:
        self._brief = brief
        self._run = run
        self._tools = tools
        progress = run.progress
        self._resumed = progress is not None
        self._state = State.of(progress, brief)
        kept = None if progress is None else progress["ledger"]
        self._ledger = Ledger(tools.prices, brief.max_cost_usd, kept)
        models = (tools.generator, tools.service, tools.embedder)
        self._calls = Calls(run, *models, self._ledger, tools.patience, self._tell, self._paid)
        self._committing = asyncio.Lock()
        self._measured = 0
        self._committed: Mapping[str, Any] | None = progress
        self._committed_at = asyncio.get_running_loop().time()

    async def work(self) -> Mapping[str, Any]:
        """Does the job and returns the fields of its result.

        Raises:
            JobStopped: when the generator cannot be asked, or has nothing new to say.
            PiUsageError: when the embeddings model gives vectors that cannot be compared.
        """
        if self._state.failed:
            raise JobStopped(self._state.failed)
        try:
            await self._worked()
        except CeilingReached:
            self._halt()
        except PiError as failure:
            # What was paid for until here is told.
            self._state.failed = str(failure)
            await self._finished()
            raise
        return await self._finished()

    async def _worked(self) -> None:
        grounds = await self._prepared()
        self._kept = await Kept.begun(grounds.seeds, self._tools.likeness, grounds.vectors)
        if self._state.next:
            await self._take_in()
        await self._generate(grounds)

    async def _prepared(self) -> Grounds:
        if self._resumed:  # all on record, and counted
            return await prepare(self._brief, self._calls, Bill(self._tools.prices), self._run.job_id)
        bill = self._ledger.open(0.0)
        try:
            grounds = await prepare(self._brief, self._calls, bill, self._run.job_id)
        finally:
            self._ledger.settle(bill, batch=False)
        await self._commit(messages=grounds.messages)
        return grounds

    async def _take_in(self) -> None:
        """What earlier lives kept."""
        vectors: Vectors = {}
        for number in range(self._state.next if self._tools.embedder else 0):
            vectors |= await self._calls.embedded(f"batch-{number}/vectors")
        await self._kept.take_in(await self._run.rows(), vectors)

    async def _generate(self, grounds: Grounds) -> None:
        window = Window(
            self._brief,
            self._run.job_id,
            self._tools.window,
            grounds=grounds,
            calls=self._calls,
            kept=self._kept,
            ledger=self._ledger,
        )
        try:
            while self._missing > 0:
                await self._stop_if_exhausted(window)
                window.fill(self._state, self._missing)
                if (dealt := await window.next()) is None:
                    return
                await self._deal_with(dealt)
        finally:
            await window.give_up()

    @property
    def _missing(self) -> int:
        return self._brief.target - self._state.tally.accepted

    async def _stop_if_exhausted(self, window: Window) -> None:
        if self._state.barren >= self._tools.barren_batches:
            await window.give_up()
            await self._finished()
            raise JobStopped(self._state.exhausted(self._brief))

    async def _deal_with(self, dealt: Dealt) -> None:
        batch, made = dealt.batch, dealt.made
        room, rows = self._missing, list[Any]()
        kept = await self._kept.keep([item for item, _ in made.good], room, made.vectors)
        for (item, scores), new in zip(made.good, kept, strict=True):
            if not new:
                made.tally.similar += 1
            elif len(rows) < room:
                rows.append(item.row(scores))
        made.tally.accepted = len(rows)
        self._ledger.settle(dealt.bill)
        if made.halted:
            self._halt()
        self._state.deal_with(made.tally, made.temperature, made.reason, self._brief)
        await self._measure(_GROWTH)
        lines = self._state.metric_line(made.tally, batch.theme, made.temperature, self._brief)
        await self._commit(rows=rows, messages=lines)

    async def _measure(self, growth: float) -> None:
        """Computes the figures of diversity anew when enough was added since."""
        accepted = self._state.tally.accepted
        if accepted > 1 and accepted > self._measured * growth:
            self._measured = accepted
            self._state.diversity = await self._kept.figures()

    def _halt(self) -> None:
        self._state.stopped = (
            f"max_cost_usd: the next call might have taken the job past ${self._brief.max_cost_usd:g}; "
            f"made {self._state.tally.accepted} of {self._brief.target} {self._brief.noun}s"
        )

    async def _finished(self) -> dict[str, Any]:
        """Writes the last line, once in all lives; returns the result."""
        if not self._state.told:
            await self._close()
        status: dict[str, Any] = self._state.progress(self._ledger)["status"]
        return status

    async def _close(self) -> None:
        self._state.told = True
        if self._state.stopped:
            self._halt()  # with the count as it is now
        if self._state.next and not self._state.failed:
            await self._measure(1.0)
        lines = [self._state.stopped] if self._state.stopped else []
        await self._commit(messages=[*lines, self._state.last_line(self._brief)])

    async def _tell(self, line: str) -> None:
        async with self._committing:
            await self._run.commit(messages=[well_formed(line)])

    async def _paid(self) -> None:
        """Tells now and then what batches under way have cost, for the figures of a job that is cancelled."""
        now = asyncio.get_running_loop().time()
        if self._committed is None or now < self._committed_at + _PAID_EVERY:
            return
        self._committed_at = now
        async with self._committing:
            status = self._committed["status"]
            # Of all else only what was committed with its rows: there may be more by now.
            figures = {**status["figures"], **self._ledger.figures()}
            await self._run.commit(progress={**self._committed, "status": {**status, "figures": figures}})

    async def _commit(self, *, rows: list[Any] | None = None, messages: list[str]) -> None:
        async with self._committing:
            self._committed = self._state.progress(self._ledger)
            self._committed_at = asyncio.get_running_loop().time()
            lines = [well_formed(line) for line in messages]
            await self._run.commit(rows=rows or [], messages=lines, progress=self._committed)
