"""The batches under way: launched side by side, dealt with in their order."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

from pi_integrations.engine.synthesis.accepted_items import Kept
from pi_integrations.engine.synthesis.batches import Batch, Made, make
from pi_integrations.engine.synthesis.calls import Calls
from pi_integrations.engine.synthesis.items import Brief
from pi_integrations.engine.synthesis.ledger import Bill, CeilingReached, Ledger
from pi_integrations.engine.synthesis.preparation import Grounds
from pi_integrations.engine.synthesis.prompts import batch_prompt
from pi_integrations.engine.synthesis.state import State

__all__ = ["Dealt", "Window"]


@dataclass(frozen=True, slots=True)
class Dealt:
    """A batch that has come to its end, with its bill and what it made."""

    batch: Batch
    bill: Bill
    made: Made


@dataclass(frozen=True, slots=True)
class _Launched:
    batch: Batch
    bill: Bill
    task: asyncio.Task[Made]


class Window:
    """Launches batches from where the job stands at the moment, so many at a time.

    Args:
        job_id: With a batch's number it decides the batch's theme, examples and tags, in every life of the job.
        most: Batches under way at a time, in jobs that ask for parallel batches.
    """

    def __init__(
        self, brief: Brief, job_id: str, most: int, *, grounds: Grounds, calls: Calls, kept: Kept, ledger: Ledger
    ) -> None:
        self._brief = brief
        self._job_id = job_id
        self._most = most
        self._grounds = grounds
        self._calls = calls
        self._kept = kept
        self._ledger = ledger
        self._launched: deque[_Launched] = deque()

    def fill(self, state: State, missing: int) -> None:
        """Launches batches for the `missing` items that no batch under way may bring.

        Raises:
            CeilingReached: when no batch is under way, and none may be paid for.
        """
        while len(self._launched) < self._width and not state.stopped:
            unclaimed = missing - sum(launched.batch.count for launched in self._launched)
            if unclaimed <= 0:
                return
            try:
                # One more than is missing, for the one that may fall by the wayside.
                self._launch(state, min(self._brief.batch_size, unclaimed + 1))
            except CeilingReached:
                if not self._launched:
                    raise
                # What is set aside for the batches under way may prove too much.
                return

    async def next(self) -> Dealt | None:
        """The first of the batches when it has come to its end; None when there is none."""
        if not self._launched:
            return None
        made = await self._launched[0].task
        first = self._launched.popleft()
        return Dealt(first.batch, first.bill, made)

    async def give_up(self) -> None:
        """Ends the batches that are not needed any more; what they cost until then is counted."""
        for launched in self._launched:
            launched.task.cancel()
        await asyncio.gather(*(launched.task for launched in self._launched), return_exceptions=True)
        while self._launched:
            self._ledger.settle(self._launched.popleft().bill, batch=False)

    @property
    def _width(self) -> int:
        # The first batch of a job with a ceiling shows what a batch costs.
        alone = self._brief.max_cost_usd is not None and not self._ledger.experienced
        return self._most if self._brief.parallel and not alone else 1

    def _launch(self, state: State, count: int) -> None:
        batch = self._drawn(state, count)
        bill = self._ledger.open(0.0 if self._brief.max_cost_usd is None else self._guess(batch))
        task = asyncio.create_task(make(batch, self._brief, self._calls, self._kept, bill))
        self._launched.append(_Launched(batch, bill, task))

    def _drawn(self, state: State, count: int) -> Batch:
        number = state.next + len(self._launched)
        draw = f"{self._job_id}:{number}"
        rng = random.Random(draw)
        policy, themes = self._brief.policy, self._grounds.themes
        theme = rng.choice(themes) if themes and rng.random() < policy.themed else None
        shots = self._kept.shots(self._brief.num_shots, policy, rng)
        return Batch(number, count, shots, theme, state.temperature, draw)

    def _guess(self, batch: Batch) -> float:
        """US dollars of a batch before the cost of one is known."""
        brief = self._brief
        calls = 1 + batch.count * (1 + bool(brief.answers))
        read = 2 * len(batch_prompt(brief, batch.shots, batch.theme, batch.count, batch.draw))
        return self._ledger.guess(read + batch.count * len(brief.answers or ""), calls)
