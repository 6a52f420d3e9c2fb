"""The watch over all jobs: what nobody works on is worked on by somebody again.

Every second each worker looks for jobs whose worker died, and every few seconds for those that were lost between the
job table and the queue. The next life of such a job begins with one conditional update, so that of several watchers one
succeeds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.durable import (
    ANNOUNCEMENTS,
    Durable,
    QueueAway,
    WorkflowState,
    announcement_id,
    workflow_id,
)
from pi_integrations.engine.jobs.heartbeat import Heartbeat
from pi_integrations.engine.jobs.retention import Retention
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import JobStore, LifeOver
from pi_integrations.engine.jobs.upkeep import Upkeep
from pi_integrations.models.jobs import JobState

__all__ = ["Supervisor"]

logger = logging.getLogger(__name__)
_WAITING = ("ENQUEUED", "DELAYED")
_CANCEL_SECONDS = 0.2
_MOST_DEATHS = 5
_DEADLY = (
    f"{_MOST_DEATHS} workers in a row died while they worked on it, and it got no further in between; what it made so"
    " far is kept. It may need more memory than they have. If other jobs ran beside it, the cause may be one of those:"
    " start it again alone"
)


class Supervisor:
    """Gives lost jobs and lost webhooks a new life, and removes jobs past their time.

    Args:
        worker: This process's id.
        has_begun: Whether this process has begun a workflow, by its id, and not ended it.
    """

    def __init__(
        self,
        database: Database,
        store: JobStore,
        durable: Durable,
        heartbeat: Heartbeat,
        settings: JobSettings,
        *,
        worker: str,
        has_begun: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._store = store
        self._durable = durable
        self._heartbeat = heartbeat
        self._settings = settings
        self._worker = worker
        self._has_begun = has_begun
        self._upkeep = Upkeep(database)
        self._retention = Retention(database, durable, settings.retention_days)
        # Workflows that should be at work here and are not, and since when.
        self._doubts: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watches in the background."""
        self._task = asyncio.create_task(self._watch())

    def look(self) -> None:
        """Looks now instead of in a second."""
        self._wake.set()

    async def stop(self) -> None:
        """Ends the watch."""
        if self._task is not None:
            # Until it has ended: Python 3.11's `wait_for` loses a cancellation that comes together with its result.
            while not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)
            self._task = None

    async def _watch(self) -> None:
        look_closely = float("-inf")
        while True:
            now = asyncio.get_running_loop().time()
            await self._try("look for jobs of dead workers", self._take_over)
            await self._try("look for webhooks to tell", self._announce)
            if now >= look_closely or self._heartbeat.found_dead.is_set():
                self._heartbeat.found_dead.clear()
                look_closely = now + self._settings.silence_seconds
                await self._try("look for jobs that nobody took", self._adopt)
                await self._try("look for webhooks that nobody tells", self._announce_again)
            await self._try("remove old jobs", self._retention.sweep)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.beat_seconds):
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
            return self._upkeep.claimed(connection), self._heartbeat.alive(connection)

        jobs, alive = await self._database.read(claimed)
        for job in jobs:
            state = WorkflowState("PENDING", job.worker)
            if self._is_lost(workflow_id(job.job_id, job.life), state, alive):
                await self._bury(job)

    async def _bury(self, job: sa.Row[Any]) -> None:
        """A job's worker died; it gets another, unless too many have."""
        deaths = job.deaths + 1
        if deaths < _MOST_DEATHS:
            await self._next_life(job, deaths)
            return
        end = partial(self._store.finish, job_id=job.job_id, state=JobState.ERROR, life=job.life, error=_DEADLY)
        with suppress(LifeOver):  # somebody else was faster
            await self._database.write_soon(end)
            logger.error("job %s ends: %s", job.job_id, _DEADLY)
            await self._durable.give_up(job.job_id, job.life)

    async def _adopt(self) -> None:
        self._forget_doubts()
        jobs = await self._database.read(self._upkeep.unclaimed)
        states = await self._durable.states(workflow_id(job.job_id, job.life) for job in jobs)
        alive = await self._database.read(self._heartbeat.alive)
        for job in jobs:
            workflow = workflow_id(job.job_id, job.life)
            state = states.get(workflow)
            if state is None:
                # Whoever made the job died before it could queue it, could not reach the queue, or is about to.
                await self._durable.schedule(job.job_id, job.life, job.family)
            elif self._is_lost(workflow, state, alive):
                await self._next_life(job, job.deaths)

    async def _next_life(self, job: sa.Row[Any], deaths: int) -> None:
        begin = partial(self._store.next_life, job_id=job.job_id, life=job.life, deaths=deaths)
        life = await self._database.write_soon(begin)
        if life is not None:
            logger.warning("job %s lost its worker %s; life %d begins", job.job_id, job.worker, life)
            await self._durable.schedule(job.job_id, life, job.family, taken_over=True)
            await self._durable.give_up(job.job_id, job.life)

    async def _announce(self) -> None:
        for job_id in await self._database.read(partial(self._upkeep.webhooks, outcome="WAITING")):
            await self._durable.schedule_announcement(job_id)
            await self._database.write_soon(partial(self._upkeep.mark_webhook, job_id=job_id, outcome="QUEUED"))

    async def _announce_again(self) -> None:
        queued = await self._database.read(partial(self._upkeep.webhooks, outcome="QUEUED"))
        states = await self._durable.states(map(announcement_id, queued))
        alive = await self._database.read(self._heartbeat.alive)
        for workflow, state in states.items():
            if self._is_lost(workflow, state, alive):
                await self._durable.revive(workflow, ANNOUNCEMENTS)

    def _is_lost(self, workflow: str, state: WorkflowState, alive: set[str]) -> bool:
        """Whether nobody will ever do what a workflow stands for."""
        if state.status in _WAITING:
            return False
        if state.status == "PENDING" and state.worker != self._worker:
            return state.worker not in alive
        if state.status == "PENDING" and self._has_begun(workflow):
            self._doubts.pop(workflow, None)
            return False
        # Ended and its work is not, or ours and not begun: so it looks for a moment at every beginning and end.
        now = asyncio.get_running_loop().time()
        return now - self._doubts.setdefault(workflow, now) > self._settings.silence_seconds

    def _forget_doubts(self) -> None:
        long_ago = asyncio.get_running_loop().time() - 10 * self._settings.silence_seconds
        self._doubts = {workflow: since for workflow, since in self._doubts.items() if since > long_ago}
