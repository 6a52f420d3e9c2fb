"""Micro-batching: concurrent jobs are queued and run together on one worker thread, where a batch is faster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pi_integrations.errors import PiUsageError

__all__ = ["MicroBatcher", "companions"]

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

# Padding may add this share to the tokens of a batch; beyond it two batches are faster than one.
MAX_PADDING = 0.25


def companions(sizes: Sequence[int], budget: int) -> list[int]:
    """Indices of the jobs to run with the first: itself, then the nearest in size, while the padding is worth it.

    Args:
        sizes: Tokens of each waiting job, the oldest first.
        budget: Tokens of a batch, padding included; the first job goes alone where it exceeds that.
    """
    chosen, largest, total = [0], sizes[0], sizes[0]
    for index in sorted(range(1, len(sizes)), key=lambda job: abs(sizes[job] - sizes[0])):
        widest, sum_ = max(largest, sizes[index]), total + sizes[index]
        padded = widest * (len(chosen) + 1)
        if padded <= budget and padded <= (1 + MAX_PADDING) * sum_:
            chosen.append(index)
            largest, total = widest, sum_
    return chosen


@dataclass(eq=False)
class _Waiting(Generic[JobT, ResultT]):
    job: JobT
    result: asyncio.Future[ResultT] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class MicroBatcher(Generic[JobT, ResultT]):
    """Runs jobs in batches on `executor`; every method belongs to one event loop.

    While a batch runs, new jobs queue for the next. A cancelled job leaves the queue; a running one finishes with its
    batch.

    Args:
        run: Called on the executor with the jobs of a batch; returns one result per job, in their order.
        executor: A single worker thread.
        size: Tokens of a job.
        budget: Tokens of a batch, padding included.
        max_wait_s: Seconds that the first job of an idle batcher waits for others.
    """

    def __init__(
        self,
        run: Callable[[Sequence[JobT]], Sequence[ResultT]],
        executor: Executor,
        *,
        size: Callable[[JobT], int],
        budget: int,
        max_wait_s: float,
    ) -> None:
        self._run, self._executor = run, executor
        self._size, self._budget, self._max_wait_s = size, budget, max_wait_s
        self._waiting: list[_Waiting[JobT, ResultT]] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, job: JobT) -> ResultT:
        """The result of `job`.

        Raises:
            PiUsageError: The batcher is closed.
            Exception: `run` raised it for the batch.
        """
        if self._closed:
            raise PiUsageError("The local judge is closed: make a new one.")
        waiting: _Waiting[JobT, ResultT] = _Waiting(job)
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="local-judge-batches")
        return await waiting.result

    async def aclose(self) -> None:
        """Finishes the batch in flight and refuses the jobs behind it."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.result.done():
                one.result.set_exception(PiUsageError("The local judge was closed before it read this exchange."))
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        await asyncio.sleep(self._max_wait_s)
        while batch := self._next_batch():
            await self._run_batch(batch)

    def _next_batch(self) -> list[_Waiting[JobT, ResultT]]:
        self._waiting = [one for one in self._waiting if not one.result.done()]
        if not self._waiting:
            return []
        chosen = set(companions([self._size(one.job) for one in self._waiting], self._budget))
        batch = [one for index, one in enumerate(self._waiting) if index in chosen]
        self._waiting = [one for index, one in enumerate(self._waiting) if index not in chosen]
        return batch

    async def _run_batch(self, batch: list[_Waiting[JobT, ResultT]]) -> None:
        jobs = [one.job for one in batch]
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._run, jobs)
        # Gathered as a value: an error belongs to the callers of this batch, and the task goes on to the next.
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        for index, one in enumerate(batch):
            if one.result.done():
                continue
            if isinstance(outcome, BaseException):
                one.result.set_exception(outcome)
            else:
                one.result.set_result(outcome[index])
