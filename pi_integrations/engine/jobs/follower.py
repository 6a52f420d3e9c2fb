"""Lines of jobs as they are written, for any number of readers.

One query reads the counts of every followed job: at once when this process has written, and every few hundredths of a
second for what other processes write. A reader fetches lines only when the counts say there are some.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.tables import jobs, lines
from pi_integrations.models.jobs import JobState

__all__ = ["Follower"]

_POLL_SECONDS = 0.05
_LINES_AT_A_TIME = 1000
_CHARACTERS_AT_A_TIME = 1_000_000
_AT_ONCE = 50
Counts = dict[str, Any]


class Follower:
    """Follows the streams of jobs, on one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: Counter[str] = Counter()
        self._counts: dict[str, Counts | None] = {}
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def readers(self) -> int:
        """How many streams are being followed."""
        return self._readers.total()

    def changed(self, job_id: str) -> None:
        """Looks at once for lines of a job that this process wrote."""
        if job_id in self._readers:
            self._wake.set()

    async def lines(self, job_id: str, stream: str, start: int = 0) -> AsyncGenerator[list[str]]:
        """Lines of a stream from number `start` on, some at a time, until the job has ended and all were given.

        Ends early when the engine stops, and when the job is removed.
        """
        self._enter(job_id)
        try:
            while not self._closed:
                # Taken before the counts are read: a later change sets this very event.
                news = self._news
                counts = self._counts.get(job_id)
                left = 0 if counts is None else counts[stream] - start
                if left > 0:
                    if not (found := await self._fetch(job_id, stream, start, left)):
                        return
                    start += len(found)
                    yield found
                elif job_id in self._counts and (counts is None or JobState(counts["state"]).final):
                    return
                else:
                    await news.wait()
        finally:
            self._leave(job_id)

    async def _fetch(self, job_id: str, stream: str, start: int, left: int) -> list[str]:
        """The next lines; none when they were removed, or the engine stops while the database is away."""
        limit = min(left, _LINES_AT_A_TIME)
        some = partial(_some_lines, job_id=job_id, stream=stream, start=start, limit=limit)
        while not self._closed:
            with suppress(SQLAlchemyError):
                return await self._database.read(some, patience=1.0)
        return []

    def _enter(self, job_id: str) -> None:
        self._readers[job_id] += 1
        # The counts of an earlier reader may be old.
        if self._readers[job_id] == 1:
            self._counts.pop(job_id, None)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        self._wake.set()

    def _leave(self, job_id: str) -> None:
        self._readers[job_id] -= 1
        if not self._readers[job_id]:
            del self._readers[job_id]
            self._counts.pop(job_id, None)

    async def _poll(self) -> None:
        while self._readers and not self._closed:
            self._wake.clear()
            followed = list(self._readers)
            # While the database is away, readers wait.
            with suppress(SQLAlchemyError):
                self._publish(followed, await self._database.read(partial(_counts, job_ids=followed)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)

    def _publish(self, followed: list[str], found: dict[str, Counts]) -> None:
        if any(self._counts.get(job_id, ()) != found.get(job_id) for job_id in followed):
            self._counts.update({job_id: found.get(job_id) for job_id in followed if job_id in self._readers})
            self._news.set()
            self._news = asyncio.Event()

    async def aclose(self) -> None:
        """Ends every stream where it is."""
        self._closed = True
        self._news.set()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])


def _counts(connection: sa.Connection, job_ids: Iterable[str]) -> dict[str, Counts]:
    query = sa.select(jobs.c.job_id, jobs.c.row_count, jobs.c.message_count, jobs.c.state)
    found = connection.execute(query.where(jobs.c.job_id.in_(list(job_ids))))
    return {job_id: {"data": rows, "messages": messages, "state": state} for job_id, rows, messages, state in found}


def _some_lines(connection: sa.Connection, job_id: str, stream: str, start: int, limit: int) -> list[str]:
    """Lines from `start` on, in order, at most `limit` and about a million characters; data are JSON."""
    where = (lines.c.job_id == job_id, lines.c.stream == stream, lines.c.sequence >= start)
    query = sa.select(lines.c.line).where(*where).order_by(lines.c.sequence).limit(limit)
    if limit > _AT_ONCE:
        # From a cursor of the server: Postgres would send all before the first is seen.
        query = query.execution_options(yield_per=_AT_ONCE)
    found: list[str] = []
    characters = 0
    for line in connection.execute(query).scalars():
        found.append(line)
        characters += len(line)
        if characters > _CHARACTERS_AT_A_TIME:
            break
    return found
