"""The attempts of jobs at work in this process: claimed, worked on, ended, or left to others."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pi_integrations.engine.jobs.database import FOREVER, Database
from pi_integrations.engine.jobs.family import Artifacts, FamilyWork, JobStopped
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import AttemptOver, Commit, JobStore
from pi_integrations.engine.jobs.tables import JobRecord, dumps
from pi_integrations.models.jobs import JobState

__all__ = ["Runner"]

logger = logging.getLogger(__name__)
_STOP_SECONDS = 5.0
Attempt = tuple[str, int]
Outcome = tuple[JobState, str | None, str | None]


@dataclass(eq=False)
class Runner:
    """Works on attempts of jobs.

    Attributes:
        works: By the family's path.
        changed: Called with the id of a job whose lines or state changed.
        ended: Called after a job ended here.
        begun: Attempts begun here and not ended, claimed or not.
    """

    database: Database
    store: JobStore
    settings: JobSettings
    works: Mapping[str, FamilyWork[Any]]
    worker: str
    changed: Callable[[str], None]
    ended: Callable[[], None]
    begun: set[Attempt] = field(default_factory=set)
    _tasks: dict[Attempt, asyncio.Task[Outcome]] = field(default_factory=dict)
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _stopping: bool = False

    @property
    def claimed(self) -> set[Attempt]:
        """Attempts that this process has claimed and works on."""
        return set(self._tasks)

    def cancel(self, attempts: Iterable[Attempt]) -> None:
        """Cancels the work of these; what they committed is kept."""
        for attempt in attempts:
            if attempt in self._tasks:
                self._tasks[attempt].cancel()

    async def run(self, job_id: str, attempt: int) -> None:
        """Works on one attempt of a job. Never fails: an error ends the job, and is in its status."""
        if self._stopping:
            raise asyncio.CancelledError("the job engine stops")
        if (job_id, attempt) in self.begun:
            return
        self.begun.add((job_id, attempt))
        try:
            await self._run(job_id, attempt)
        except AttemptOver:
            pass
        finally:
            self.begun.discard((job_id, attempt))

    async def _run(self, job_id: str, attempt: int) -> None:
        claim = partial(self.store.claim, job_id=job_id, attempt=attempt, worker=self.worker)
        job = await self.database.write(claim, patience=FOREVER)
        self.changed(job_id)
        # In the engine's own context, not in one of DBOS.
        task = self._context.copy().run(asyncio.create_task, self._work(job))
        self._tasks[job_id, attempt] = task
        if self._stopping:
            task.cancel()
        try:
            state, result, error = await task
        except asyncio.CancelledError:
            if self._stopping:
                raise
            return
        finally:
            del self._tasks[job_id, attempt]
        finish = partial(self.store.finish, job_id=job_id, state=state, attempt=attempt, result=result, error=error)
        await self.database.write(finish, patience=FOREVER)
        self.changed(job_id)
        self.ended()

    async def _work(self, job: JobRecord) -> Outcome:
        try:
            result = await self.works[job.family].perform(job.request, _LiveRun(self, job))
            return JobState.DONE, dumps(dict(result)), None
        except JobStopped as stopped:
            return JobState.ERROR, None, str(stopped) or "the job stopped, and gave no reason"
        except Exception as error:
            logger.exception("job %s failed", job.job_id)
            reason = f"the engine failed: {type(error).__name__}; its log has the error, under the job's id"
            return JobState.ERROR, None, reason

    async def stop(self) -> None:
        """Stops all work where it is, and waits some seconds for it to clean up."""
        self._stopping = True
        self.cancel(self.claimed)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=_STOP_SECONDS)


class _LiveRun:
    """A `Run` on the runner's store."""

    def __init__(self, runner: Runner, job: JobRecord) -> None:
        self._runner = runner
        self._store, self._database = runner.store, runner.database
        self._attempt = job.attempt
        self._counts = (job.row_count, job.message_count)
        self._one_at_a_time = asyncio.Lock()
        self.job_id = job.job_id
        self.progress = job.progress
        self.artifacts = Artifacts(runner.settings, job.job_id)

    async def rows(self) -> list[Any]:
        view = await self._database.read(partial(self._store.view, job_id=self.job_id, rows=True), patience=FOREVER)
        lines = (view.rows if view is not None else None) or []
        return await self._database.in_thread(lambda: [json.loads(line) for line in lines])

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        find = partial(self._store.answer, job_id=self.job_id, key=key)
        kept = await self._database.read(find, patience=FOREVER)
        if kept is None:
            record = partial(self._store.record, job_id=self.job_id, key=key, answer=dumps(await call()))
            # Shielded: an answer that was paid for is stored even while the engine stops.
            kept = await asyncio.shield(self._database.write(record, patience=FOREVER))
        return json.loads(kept)

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        # Copied now: the caller may reuse its lists.
        new = ([dumps(row) for row in rows], list(messages), None if progress is None else dumps(progress))
        # Shielded: whether it was made must be known before the next one is.
        if not await asyncio.shield(self._commit(*new)):
            raise asyncio.CancelledError(f"job {self.job_id} is no longer this worker's")

    async def _commit(self, rows: list[str], messages: list[str], progress: str | None) -> bool:
        async with self._one_at_a_time:
            new = Commit(self.job_id, self._attempt, *self._counts, rows, messages, progress)
            try:
                await self._database.write(partial(self._store.commit, new=new), patience=FOREVER)
            except AttemptOver:
                return False
            self._counts = new.counts_after
            if progress is not None:
                self.progress = json.loads(progress)
        self._runner.changed(self.job_id)
        return True
