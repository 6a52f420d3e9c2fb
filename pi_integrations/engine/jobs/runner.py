"""The jobs at work in this process: claimed, worked on, ended, or let go."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.family import FamilyWork, JobStopped
from pi_integrations.engine.jobs.live_run import LiveRun
from pi_integrations.engine.jobs.records import JobRecord, dumps
from pi_integrations.engine.jobs.store import JobStore, LifeOver
from pi_integrations.models.jobs import JobState

__all__ = ["Runner"]

logger = logging.getLogger(__name__)
_GOODBYE_SECONDS = 5.0
Life = tuple[str, int]
Outcome = tuple[JobState, str | None, str | None]


class Runner:
    """Works on lives of jobs.

    Args:
        families: By path.
        changed: Called with the id of a job whose lines or state changed.
        ended: Called after a job ended here.
    """

    def __init__(
        self,
        database: Database,
        store: JobStore,
        families: Mapping[str, FamilyWork[Any]],
        worker: str,
        *,
        changed: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._database = database
        self._store = store
        self._families = families
        self._worker = worker
        self._changed = changed
        self._ended = ended
        self._lives: set[Life] = set()
        self._tasks: dict[Life, asyncio.Task[Outcome]] = {}
        self._stopping = False
        self._context = contextvars.copy_context()

    @property
    def lives(self) -> set[Life]:
        """What was begun here and has not ended, claimed or not."""
        return set(self._lives)

    @property
    def at_work(self) -> set[Life]:
        """What this process has claimed and works on."""
        return set(self._tasks)

    def let_go(self, lives: Iterable[Life]) -> None:
        """Cancels the work of these; what they committed is kept."""
        for life in lives:
            if life in self._tasks:
                self._tasks[life].cancel()

    async def perform(self, job_id: str, life: int) -> None:
        """One life of a job. Never fails: what goes wrong is the job's end, and is told there."""
        if self._stopping:
            raise asyncio.CancelledError("the job engine stops")
        if (job_id, life) in self._lives:
            return
        self._lives.add((job_id, life))
        try:
            await self._live(job_id, life)
        except LifeOver:
            pass
        finally:
            self._lives.discard((job_id, life))

    async def _live(self, job_id: str, life: int) -> None:
        claim = partial(self._store.claim, job_id=job_id, life=life, worker=self._worker)
        job = await self._database.write(claim)
        self._changed(job_id)
        try:
            state, result, error = await self._at_work(job)
        except asyncio.CancelledError:
            if self._stopping:
                raise
            return
        finish = partial(self._store.finish, job_id=job_id, state=state, life=life, result=result, error=error)
        await self._database.write(finish)
        self._changed(job_id)
        self._ended()

    async def _at_work(self, job: JobRecord) -> Outcome:
        # In the engine's own context, not in one of DBOS.
        task = self._context.copy().run(asyncio.create_task, self._work(job))
        self._tasks[job.job_id, job.life] = task
        if self._stopping:
            task.cancel()
        try:
            return await task
        finally:
            del self._tasks[job.job_id, job.life]

    async def _work(self, job: JobRecord) -> Outcome:
        family = self._families[job.family]
        try:
            request = family.family.request.model_validate_json(job.request)
            run = LiveRun(self._database, self._store, job, self._changed)
            return JobState.DONE, dumps(dict(await family.work(request, run))), None
        except JobStopped as stopped:
            return JobState.ERROR, None, str(stopped) or "the job stopped, and gave no reason"
        except Exception as error:
            logger.exception("job %s failed", job.job_id)
            reason = f"the engine failed: {type(error).__name__}; its log has the error, under the job's id"
            return JobState.ERROR, None, reason

    async def stop(self) -> None:
        """Stops all work where it is, and waits some seconds for it to clean up."""
        self._stopping = True
        self.let_go(self.at_work)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=_GOODBYE_SECONDS)
