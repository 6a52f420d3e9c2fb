"""The watch over all jobs: a job that no worker works on is queued again, and an old job is removed.

Every second each worker looks for jobs whose worker died, and every few seconds for those that were lost between the
job table and the queue. The next attempt of such a job begins with one conditional update, so that of several workers
one succeeds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.dbos_queue import DbosQueue, QueueAway, WorkflowState, workflow_id
from pi_integrations.engine.jobs.family import Artifacts
from pi_integrations.engine.jobs.heartbeat import Heartbeat, end_task
from pi_integrations.engine.jobs.runner import Runner
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import AttemptOver, JobStore
from pi_integrations.engine.jobs.tables import FINAL, answers, jobs, lines
from pi_integrations.engine.jobs.webhooks import WebhookDelivery
from pi_integrations.models.jobs import JobState

__all__ = ["Supervisor"]

logger = logging.getLogger(__name__)
_WAITING = ("ENQUEUED", "DELAYED")
_MOST_CRASHES = 5
_TOO_MANY_CRASHES = (
    f"{_MOST_CRASHES} workers in a row died while they worked on it, and it got no further in between; what it made so"
    " far is kept. It may need more memory than they have. If other jobs ran beside it, the cause may be one of those:"
    " start it again alone"
)
_SWEEP_SECONDS = 60.0
_LINES_AT_A_TIME = 2000
# The owner of a job that is being removed; no digest is a hyphen.
_NOBODY = "-"


@dataclass(eq=False)
class Supervisor:
    """Starts the next attempt of lost jobs, has webhooks delivered, and removes jobs past their retention."""

    database: Database
    store: JobStore
    queue: DbosQueue
    heartbeat: Heartbeat
    runner: Runner
    webhooks: WebhookDelivery
    settings: JobSettings
    worker: str
    # Attempts that should be at work here and are not, and since when.
    _missing: dict[str, float] = field(default_factory=dict)
    _swept: float = float("-inf")
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watches in the background."""
        self._task = asyncio.create_task(self._watch())

    def wake(self) -> None:
        """Looks now instead of in a second."""
        self._wake.set()

    async def stop(self) -> None:
        """Ends the watch."""
        if self._task is not None:
            await end_task(self._task)

    async def _watch(self) -> None:
        next_search = float("-inf")
        while True:
            now = asyncio.get_running_loop().time()
            await self._try("look for jobs of dead workers", self._take_over)
            await self._try("deliver webhooks", self.webhooks.deliver)
            if now >= next_search or self.heartbeat.found_dead.is_set():
                self.heartbeat.found_dead.clear()
                next_search = now + self.settings.silence_seconds
                await self._try("look for jobs that no worker took", self._requeue_unclaimed)
            await self._try("remove old jobs", self._remove_old)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.beat_seconds):
                    await self._wake.wait()
            self._wake.clear()

    async def _try(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (SQLAlchemyError, QueueAway) as error:
            logger.warning("could not %s, trying again: %s", what, str(error).split("\n")[0])
        except Exception:
            logger.exception("could not %s, trying again", what)

    async def _take_over(self) -> None:
        def claimed(connection: sa.Connection) -> tuple[list[sa.Row[Any]], set[str]]:
            # In this order: a worker has a row before it has a job.
            return self.store.open_jobs(connection, claimed=True), self.heartbeat.alive(connection)

        found, alive = await self.database.read(claimed)
        for job in found:
            if self._is_lost(job, WorkflowState("PENDING", job.worker), alive):
                await self._requeue_or_fail(job)

    async def _requeue_or_fail(self, job: sa.Row[Any]) -> None:
        """Starts the next attempt of a job whose worker died, unless too many have."""
        crashes = job.crashes + 1
        if crashes < _MOST_CRASHES:
            await self._next_attempt(job, crashes)
            return
        end = partial(
            self.store.finish, job_id=job.job_id, state=JobState.ERROR, attempt=job.attempt, error=_TOO_MANY_CRASHES
        )
        with suppress(AttemptOver):  # another worker was faster
            await self.database.write(end)
            logger.error("job %s ends: %s", job.job_id, _TOO_MANY_CRASHES)
            await self.queue.cancel(job.job_id, job.attempt)

    async def _requeue_unclaimed(self) -> None:
        long_ago = asyncio.get_running_loop().time() - 10 * self.settings.silence_seconds
        self._missing = {workflow: since for workflow, since in self._missing.items() if since > long_ago}
        found = await self.database.read(partial(self.store.open_jobs, claimed=False))
        states = await self.queue.states(workflow_id(job.job_id, job.attempt) for job in found)
        alive = await self.database.read(self.heartbeat.alive)
        for job in found:
            state = states.get(workflow_id(job.job_id, job.attempt))
            if state is None:
                # Its process died before it could queue it, could not reach the queue, or is about to.
                await self.queue.enqueue(job.job_id, job.attempt, job.family)
            elif self._is_lost(job, state, alive):
                await self._next_attempt(job, job.crashes)

    async def _next_attempt(self, job: sa.Row[Any], crashes: int) -> None:
        begin = partial(self.store.next_attempt, job_id=job.job_id, attempt=job.attempt, crashes=crashes)
        attempt = await self.database.write(begin)
        if attempt is not None:
            logger.warning("job %s lost its worker %s; attempt %d begins", job.job_id, job.worker, attempt)
            await self.queue.enqueue(job.job_id, attempt, job.family, taken_over=True)
            await self.queue.cancel(job.job_id, job.attempt)

    def _is_lost(self, job: sa.Row[Any], state: WorkflowState, alive: set[str]) -> bool:
        """Whether no worker will ever run the job's current attempt."""
        workflow = workflow_id(job.job_id, job.attempt)
        if state.status in _WAITING:
            return False
        if state.status == "PENDING" and state.worker != self.worker:
            return state.worker not in alive
        if state.status == "PENDING" and (job.job_id, job.attempt) in self.runner.begun:
            self._missing.pop(workflow, None)
            return False
        # Ended although the job is open, or ours and not begun: both are so for a moment at every beginning and end.
        now = asyncio.get_running_loop().time()
        return now - self._missing.setdefault(workflow, now) > self.settings.silence_seconds

    async def _remove_old(self) -> None:
        """Removes some jobs past their retention, and looks for more once a minute.

        A job disappears from its owner at once and from the disk little by little, so that nothing waits long for the
        database; what a worker that dies leaves is removed by the next.
        """
        now = asyncio.get_running_loop().time()
        if not self.settings.retention_days or now - self._swept < _SWEEP_SECONDS:
            return
        hidden = await self.database.write(self._hide_old)
        for job in hidden:
            # The job's row last: it alone says what else there is to remove.
            await self.queue.delete(job.job_id, job.attempt)
            await asyncio.to_thread(Artifacts(self.settings, job.job_id).remove)
            while not await self.database.write(partial(_delete_some, job_id=job.job_id)):
                pass
        if not hidden:
            self._swept = now

    def _hide_old(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        """Hides some old jobs from their owners, and returns the id and last attempt of every hidden one."""
        before = self.database.clock(connection) - self.settings.retention_days * 86_400.0
        where = (jobs.c.state.in_(FINAL), jobs.c.finished < before, jobs.c.owner != _NOBODY)
        old = list(connection.execute(sa.select(jobs.c.job_id).where(*where).limit(100)).scalars())
        hidden = sa.update(jobs).where(jobs.c.job_id.in_(old))
        connection.execute(hidden.values(owner=_NOBODY, idempotency_key=None))
        query = sa.select(jobs.c.job_id, jobs.c.attempt).where(jobs.c.owner == _NOBODY).limit(100)
        return list(connection.execute(query))


def _delete_some(connection: sa.Connection, job_id: str) -> bool:
    """Removes some lines of a hidden job, and at last the job itself; whether it is gone."""
    some = sa.select(lines.c.stream, lines.c.sequence).where(lines.c.job_id == job_id).limit(_LINES_AT_A_TIME)
    key = sa.tuple_(lines.c.stream, lines.c.sequence)
    if connection.execute(sa.delete(lines).where(lines.c.job_id == job_id, key.in_(some))).rowcount:
        return False
    for table in (answers, jobs):
        connection.execute(sa.delete(table).where(table.c.job_id == job_id))
    return True
