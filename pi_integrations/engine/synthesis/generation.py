"""A generating job: batches run side by side and are settled one after the other, each in one commit."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.engine.chat_models.asking import ChatModel, Embedder, Vectors
from pi_integrations.engine.chat_models.budget import Budget, CeilingReached, Prices, Spending
from pi_integrations.engine.chat_models.failures import Patience
from pi_integrations.engine.jobs.family import JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.synthesis.accepted_items import AcceptedItems
from pi_integrations.engine.synthesis.batches import Batch, BatchResult, make_batch
from pi_integrations.engine.synthesis.calls import Calls
from pi_integrations.engine.synthesis.items import GenerationRequest, well_formed
from pi_integrations.engine.synthesis.preparation import Preparation, prepare
from pi_integrations.engine.synthesis.prompts import batch_prompt
from pi_integrations.engine.synthesis.state import State
from pi_integrations.errors import PiError

__all__ = ["Generation", "Tools"]

# Figures of diversity are computed again when this many times more items are accepted than the last time.
_GROWTH = 1.5
# Seconds between two commits of the cost of running batches.
_COST_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What all jobs of an engine generate with.

    Attributes:
        generator: Writes, answers and judges.
        service: Scores, for jobs with a scoring spec.
        embedder: Finds inputs of like meaning, where there is one.
        patience: Waits out failures that may pass.
        prices: US dollars per million tokens of the generator, where known.
        parallel_batches: Batches that run at a time, in jobs that request parallel batches.
        give_up_after: How many batches in a row may bring nothing new before a job ends.
        similarity: Jaccard similarity of wording from which an input is a near-duplicate.
        cosine: Cosine of embeddings from which an input is a near-duplicate.
    """

    generator: ChatModel
    service: ScoreService | None
    embedder: Embedder | None
    patience: Patience
    prices: Prices | None
    parallel_batches: int
    give_up_after: int
    similarity: float
    cosine: float


class Generation:
    """One attempt at a generating job."""

    def __init__(self, request: GenerationRequest, run: Run, tools: Tools) -> None:
        self._request = request
        self._run = run
        self._tools = tools
        self._state = State.of(run.progress, request)
        saved = None if run.progress is None else run.progress["budget"]
        self._budget = Budget(tools.prices, request.max_cost_usd, saved)
        models = (tools.generator, tools.service, tools.embedder)
        self._calls = Calls(run, *models, self._budget, tools.patience, self._report, self._report_cost)
        self._accepted = AcceptedItems(tools.similarity, tools.cosine)
        self._committing = asyncio.Lock()
        self._measured = 0
        self._committed: Mapping[str, Any] | None = run.progress
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
            await self._generate(await self._prepared())
        except CeilingReached:
            self._stop()
        except PiError as failure:
            self._state.failed = str(failure)
            await self._finish()  # so that the figures count what was paid for until now
            raise
        return await self._finish()

    async def _prepared(self) -> Preparation:
        if self._committed is not None:  # all its answers are recorded, and their cost is in the budget
            prepared = await self._prepare(Spending(self._tools.prices))
        else:
            spending = self._budget.open(0.0)
            try:
                prepared = await self._prepare(spending)
            finally:
                self._budget.settle(spending, batch=False)
            await self._commit(messages=prepared.messages)
        await self._accepted.add_seeds(prepared.seeds, prepared.vectors)
        if self._state.settled:
            await self._restore()
        return prepared

    async def _prepare(self, spending: Spending) -> Preparation:
        return await prepare(self._request, self._calls, spending, self._run.job_id)

    async def _restore(self) -> None:
        """Adds the items that earlier attempts accepted."""
        vectors: Vectors = {}
        for number in range(self._state.settled if self._tools.embedder else 0):
            vectors |= await self._calls.embedded(f"batch-{number}/vectors")
        await self._accepted.restore(await self._run.rows(), vectors)

    async def _generate(self, prepared: Preparation) -> None:
        most = self._tools.parallel_batches
        window = _Window(
            self._request, self._run.job_id, most, prepared.themes, self._calls, self._accepted, self._budget
        )
        try:
            while self._missing > 0:
                if self._state.fruitless >= self._tools.give_up_after:
                    await window.cancel()
                    await self._finish()
                    raise JobStopped(self._state.exhausted())
                window.fill(self._state, self._missing)
                if (running := await window.next()) is None:
                    return
                await self._settle(running.batch, running.spending, running.task.result())
        finally:
            await window.cancel()

    @property
    def _missing(self) -> int:
        return self._request.wanted - self._state.tally.accepted

    async def _settle(self, batch: Batch, spending: Spending, result: BatchResult) -> None:
        room, rows = self._missing, list[Any]()
        accepted = await self._accepted.accept([item for item, _ in result.good], room, result.vectors)
        for (item, scores), new in zip(result.good, accepted, strict=True):
            if not new:
                result.tally.similar += 1
            elif len(rows) < room:
                rows.append(item.row(scores))
        result.tally.accepted = len(rows)
        self._budget.settle(spending)
        if result.halted:
            self._stop()
        self._state.settle(result.tally, result.temperature, result.reason)
        await self._measure(_GROWTH)
        lines = self._state.metric_lines(result.tally, batch.theme, result.temperature)
        await self._commit(rows=rows, messages=lines)

    async def _measure(self, growth: float) -> None:
        """Computes the figures of diversity again when enough was added since the last time."""
        accepted = self._state.tally.accepted
        if accepted > 1 and accepted > self._measured * growth:
            self._measured = accepted
            self._state.diversity = await self._accepted.figures()

    def _stop(self) -> None:
        ceiling = f"max_cost_usd: the next call might have taken the job past ${self._request.max_cost_usd:g}"
        self._state.stopped = f"{ceiling}; {self._state.made}"

    async def _finish(self) -> dict[str, Any]:
        """Writes the last line, once in all attempts; returns the result."""
        if not self._state.closed:
            self._state.closed = True
            if self._state.stopped:
                self._stop()  # with the count as it is now
            if self._state.settled and not self._state.failed:
                await self._measure(1.0)
            lines = [self._state.stopped] if self._state.stopped else []
            await self._commit(messages=[*lines, self._state.last_line()])
        status: dict[str, Any] = self._state.progress(self._budget)["status"]
        return status

    async def _report(self, line: str) -> None:
        async with self._committing:
            await self._run.commit(messages=[well_formed(line)])

    async def _report_cost(self) -> None:
        """Commits now and then what running batches have cost, for the figures of a job that is cancelled."""
        now = asyncio.get_running_loop().time()
        if self._committed is None or now < self._committed_at + _COST_EVERY:
            return
        self._committed_at = now
        async with self._committing:
            status = self._committed["status"]
            # The other figures stay as they were committed with their rows: there may be more by now.
            figures = {**status["figures"], **self._budget.figures()}
            await self._run.commit(progress={**self._committed, "status": {**status, "figures": figures}})

    async def _commit(self, *, rows: list[Any] | None = None, messages: list[str]) -> None:
        async with self._committing:
            self._committed = self._state.progress(self._budget)
            self._committed_at = asyncio.get_running_loop().time()
            lines = [well_formed(line) for line in messages]
            await self._run.commit(rows=rows or [], messages=lines, progress=self._committed)


@dataclass(frozen=True, slots=True)
class _RunningBatch:
    batch: Batch
    spending: Spending
    task: asyncio.Task[BatchResult]


@dataclass(slots=True)
class _Window:
    """Runs some batches at a time, each begun from the job's state at that moment, and gives them out in order.

    Attributes:
        job_id: With a batch's number it decides the batch's theme, examples and tags, in every attempt at the job.
        most: Batches that run at a time, in jobs that request parallel batches.
    """

    request: GenerationRequest
    job_id: str
    most: int
    themes: list[str]
    calls: Calls
    accepted: AcceptedItems
    budget: Budget
    running: deque[_RunningBatch] = field(default_factory=deque)

    def fill(self, state: State, missing: int) -> None:
        """Launches batches for those of the `missing` items that no running batch may bring.

        Raises:
            CeilingReached: when no batch is running, and none may be paid for.
        """
        while len(self.running) < self._width and not state.stopped:
            unclaimed = missing - sum(running.batch.count for running in self.running)
            if unclaimed <= 0:
                return
            try:
                # One more than is missing, since one may be rejected.
                self._launch(state, min(self.request.batch_size, unclaimed + 1))
            except CeilingReached:
                if not self.running:
                    raise
                return  # the running batches may cost less than was set aside for them

    async def next(self) -> _RunningBatch | None:
        """The first batch, when it has come to its end; None when there is none."""
        if not self.running:
            return None
        await self.running[0].task
        return self.running.popleft()

    async def cancel(self) -> None:
        """Cancels the batches that are not needed any more; what they cost until then is counted."""
        for running in self.running:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in self.running), return_exceptions=True)
        while self.running:
            self.budget.settle(self.running.popleft().spending, batch=False)

    @property
    def _width(self) -> int:
        # The first batch of a job with a ceiling shows what a batch costs.
        alone = self.request.max_cost_usd is not None and not self.budget.knows_batch_cost
        return self.most if self.request.parallel and not alone else 1

    def _launch(self, state: State, count: int) -> None:
        batch = self._next_batch(state, count)
        spending = self.budget.open(0.0 if self.request.max_cost_usd is None else self._guess(batch))
        task = asyncio.create_task(make_batch(batch, self.request, self.calls, self.accepted, spending))
        self.running.append(_RunningBatch(batch, spending, task))

    def _next_batch(self, state: State, count: int) -> Batch:
        number = state.settled + len(self.running)
        tag_source = f"{self.job_id}:{number}"
        rng = random.Random(tag_source)
        policy = self.request.policy
        theme = rng.choice(self.themes) if self.themes and rng.random() < policy.theme_probability else None
        shots = self.accepted.shots(self.request.num_shots, policy, rng)
        return Batch(number, count, shots, theme, state.temperature, tag_source)

    def _guess(self, batch: Batch) -> float:
        """US dollars of a batch before the cost of one is known."""
        request = self.request
        calls = 1 + batch.count * (1 + bool(request.system_prompt))
        read = 2 * len(batch_prompt(request, batch.shots, batch.theme, batch.count, batch.tag_source))
        return self.budget.guess(read + batch.count * len(request.system_prompt or ""), calls)
