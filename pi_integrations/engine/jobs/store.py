"""How jobs change; every function is one transaction of its caller's, and changes nothing when it is made twice.

A job has lives: each time it is put on the queue its `life` is counted up, and only the worker that claimed the current
life may write. A worker that was frozen and comes back finds its life over and is refused, so nothing is doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.records import JobRecord
from pi_integrations.engine.jobs.tables import answers, jobs, lines
from pi_integrations.models.jobs import JobState

__all__ = ["Commit", "JobStore", "KeyConflict", "LifeOver"]

_FINAL = [state.value for state in JobState if state.final]
_OPEN = [state.value for state in JobState if not state.final]


class KeyConflict(Exception):
    """The idempotency key was used for another body."""


class LifeOver(Exception):
    """The job is no longer this worker's: cancelled, finished, or taken over."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Rows (JSON), message lines and progress (JSON, or None to leave it) to append to a job in one of its lives.

    `row_count` and `message_count` are the job's before, by which a commit made twice is told.
    """

    job_id: str
    life: int
    row_count: int
    message_count: int
    rows: Sequence[str] = ()
    messages: Sequence[str] = ()
    progress: str | None = None

    @property
    def counts_after(self) -> tuple[int, int]:
        """The job's rows and messages once it is made."""
        return self.row_count + len(self.rows), self.message_count + len(self.messages)


class JobStore:
    """Makes, claims, fills and ends jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        connection: sa.Connection,
        *,
        job_id: str,
        family: str,
        owner: str,
        request: str,
        idempotency_key: str | None,
        webhook_url: str | None,
    ) -> JobRecord:
        """The new job, or the one that the same key and body made before.

        Raises:
            KeyConflict: when the key made a job of another body.
        """
        now = self._database.clock(connection)
        made = self._database.insert_new(jobs).values(
            job_id=job_id,
            family=family,
            owner=owner,
            state=JobState.QUEUED.value,
            request=request,
            idempotency_key=idempotency_key,
            created=now,
            life=1,
            row_count=0,
            message_count=1,
            webhook_url=webhook_url,
            webhook="WAITING" if webhook_url is not None else None,
        )
        if connection.execute(made).rowcount:
            self._append(connection, job_id, "messages", 0, ["LAUNCHING"])
        found = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
        if found is None:
            same_key = (jobs.c.owner == owner, jobs.c.family == family, jobs.c.idempotency_key == idempotency_key)
            found = connection.execute(sa.select(jobs).where(*same_key)).one()
        if found.request != request:
            raise KeyConflict
        return JobRecord.of(found)

    def claim(self, connection: sa.Connection, job_id: str, life: int, worker: str) -> JobRecord:
        """The job, RUNNING and this worker's from now on.

        Raises:
            LifeOver: when that life is not the current one, or the job is over.
        """
        row = self._current(connection, job_id, life)
        if row.worker not in (None, worker):
            raise LifeOver
        values: dict[str, Any] = {"state": JobState.RUNNING.value, "worker": worker}
        if row.state == JobState.QUEUED:
            self._append(connection, job_id, "messages", row.message_count, ["RUNNING"])
            values["message_count"] = row.message_count + 1
        connection.execute(sa.update(jobs).where(jobs.c.job_id == job_id).values(**values))
        return JobRecord.of(connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one())

    def commit(self, connection: sa.Connection, new: Commit) -> None:
        """Appends rows and messages and replaces the progress.

        Raises:
            LifeOver: when the life is over; nothing is written.
        """
        current = self._current(connection, new.job_id, new.life)
        row_count, message_count = new.counts_after
        values: dict[str, Any] = {"row_count": row_count, "message_count": message_count}
        if (current.row_count, current.message_count) == (new.row_count, new.message_count):
            self._append(connection, new.job_id, "data", new.row_count, new.rows)
            self._append(connection, new.job_id, "messages", new.message_count, map(_one_line, new.messages))
        elif (current.row_count, current.message_count) != new.counts_after:
            raise LifeOver
        if new.progress is not None:
            values["progress"] = new.progress
        if new.rows:
            values["deaths"] = 0
        connection.execute(sa.update(jobs).where(jobs.c.job_id == new.job_id).values(**values))

    def finish(
        self,
        connection: sa.Connection,
        job_id: str,
        state: JobState,
        *,
        life: int | None = None,
        result: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Ends a job, with a last message line; False when it had ended already.

        Args:
            life: When given, only this life may end it.
            result: The result's fields, as JSON.

        Raises:
            LifeOver: when that life is over.
        """
        try:
            current = self._current(connection, job_id, life)
        except LifeOver:
            if life is not None:
                raise
            return False
        last = [_one_line(error), state.value] if error else [state.value]
        self._append(connection, job_id, "messages", current.message_count, last)
        values: dict[str, Any] = {
            "state": state.value,
            "finished": self._database.clock(connection),
            "message_count": current.message_count + len(last),
            "worker": None,
            "error": _storable(error) if error else None,
            "result": result,
        }
        connection.execute(sa.update(jobs).where(jobs.c.job_id == job_id).values(**values))
        connection.execute(sa.delete(answers).where(answers.c.job_id == job_id))
        return True

    def next_life(self, connection: sa.Connection, job_id: str, life: int, deaths: int) -> int | None:
        """Ends `life` and begins the next one, whose number it gives; None when somebody else did, or the job ended.

        Args:
            deaths: How many workers died at the job in a row by now.
        """
        where = (jobs.c.job_id == job_id, jobs.c.life == life, jobs.c.state.in_(_OPEN))
        changed = sa.update(jobs).where(*where).values(life=life + 1, worker=None, deaths=deaths)
        return life + 1 if connection.execute(changed).rowcount else None

    def forgive(self, connection: sa.Connection, worker: str) -> None:
        """`worker` stops and did not die: what is left of its jobs will be taken over all the same."""
        own = (jobs.c.worker == worker, jobs.c.state.in_(_OPEN))
        connection.execute(sa.update(jobs).where(*own).values(deaths=jobs.c.deaths - 1))

    def answer(self, connection: sa.Connection, job_id: str, key: str) -> str | None:
        """The recorded answer for `key` as JSON, or None."""
        where = (answers.c.job_id == job_id, answers.c.key == key)
        return connection.execute(sa.select(answers.c.answer).where(*where)).scalar_one_or_none()

    def record(self, connection: sa.Connection, job_id: str, key: str, answer: str) -> str:
        """Records an answer, unless one is there already or the job is over; the one that is kept."""
        try:
            current = self._current(connection, job_id, None)
        except LifeOver:
            return answer
        made = self._database.insert_new(answers).values(job_id=job_id, key=key, answer=answer)
        if connection.execute(made).rowcount:
            if current.deaths:
                connection.execute(sa.update(jobs).where(jobs.c.job_id == job_id).values(deaths=0))
            return answer
        return self.answer(connection, job_id, key) or answer

    def _current(self, connection: sa.Connection, job_id: str, life: int | None) -> Any:
        """The job's row, locked, if it goes on and `life` is its current one."""
        columns = (jobs.c.state, jobs.c.life, jobs.c.worker, jobs.c.row_count, jobs.c.message_count, jobs.c.deaths)
        query = sa.select(*columns).where(jobs.c.job_id == job_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None or row.state in _FINAL or (life is not None and row.life != life):
            raise LifeOver
        return row

    def _append(self, connection: sa.Connection, job_id: str, stream: str, start: int, new: Any) -> None:
        values = [
            {"job_id": job_id, "stream": stream, "sequence": start + number, "line": line}
            for number, line in enumerate(new)
        ]
        if values:
            connection.execute(sa.insert(lines), values)


def _one_line(text: str) -> str:
    """`text` as one line that every text column takes."""
    return " ".join(_storable(text).splitlines())


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
