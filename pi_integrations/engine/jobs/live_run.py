"""A job at work in this process: what `Run` promises, on the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pi_integrations.engine.jobs import views
from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.records import JobRecord, dumps
from pi_integrations.engine.jobs.store import Commit, JobStore, LifeOver

__all__ = ["LiveRun"]


class LiveRun:
    """One life of a job.

    Args:
        changed: Called after every commit, so that readers look at once.
    """

    def __init__(self, database: Database, store: JobStore, record: JobRecord, changed: Callable[[str], None]) -> None:
        self._database = database
        self._store = store
        self._life = record.life
        self._changed = changed
        self._progress = record.progress
        self._counts = (record.row_count, record.message_count)
        self._one_at_a_time = asyncio.Lock()
        self.job_id = record.job_id

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """See `Run.progress`."""
        return self._progress

    async def rows(self) -> list[Any]:
        """See `Run.rows`."""
        view = await self._database.read(
            lambda connection: views.view(connection, self.job_id, rows=True), patience=float("inf")
        )
        if view is None or view.rows is None:
            return []
        lines = view.rows
        return await self._database.in_thread(lambda: [json.loads(line) for line in lines])

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """See `Run.recorded`."""
        kept = await self._database.read(
            partial(self._store.answer, job_id=self.job_id, key=key), patience=float("inf")
        )
        if kept is None:
            answer = dumps(await call())
            # Shielded: an answer that was paid for is written down even while the engine stops.
            record = partial(self._store.record, job_id=self.job_id, key=key, answer=answer)
            kept = await asyncio.shield(self._database.write(record))
        return json.loads(kept)

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        """See `Run.commit`."""
        # As it is now: the caller may go on filling its lists.
        new = ([dumps(row) for row in rows], list(messages), None if progress is None else dumps(progress))
        # Shielded: whether it was made must be known before the next one is.
        if not await asyncio.shield(self._commit(*new)):
            raise asyncio.CancelledError(f"job {self.job_id} is no longer this worker's")

    async def _commit(self, rows: list[str], messages: list[str], progress: str | None) -> bool:
        async with self._one_at_a_time:
            new = Commit(self.job_id, self._life, *self._counts, rows, messages, progress)
            try:
                await self._database.write(partial(self._store.commit, new=new))
            except LifeOver:
                return False
            self._counts = new.counts_after
            if progress is not None:
                self._progress = json.loads(progress)
        self._changed(self.job_id)
        return True
