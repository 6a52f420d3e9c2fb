"""How jobs change and are read; every method is part of its caller's transaction, and is safe to call twice.

A job has attempts: each time it is put on the queue its `attempt` is counted up, and only the worker that claimed the
current attempt may write. A worker that was frozen and comes back finds its attempt over and is refused, so nothing is
doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.tables import FINAL, OPEN, JobRecord, JobView, answers, jobs, lines
from pi_integrations.models.jobs import JobState

__all__ = ["AttemptOver", "Commit", "JobStore", "KeyConflict"]

_MESSAGES_LISTED = 100


class KeyConflict(Exception):
    """The idempotency key was used for another body."""


class AttemptOver(Exception):
    """The job is no longer this worker's: cancelled, finished, or taken over."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Rows (JSON), message lines and progress (JSON, or None to keep it) to append to a job in one of its attempts.

    `row_count` and `message_count` are the job's before; a commit made twice is recognised by them.
    """

    job_id: str
    attempt: int
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
    """Creates, claims, fills, ends and reads jobs."""

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
        made = self._database.insert_new(jobs).values(
            job_id=job_id,
            family=family,
            owner=owner,
            state=JobState.QUEUED.value,
            request=request,
            idempotency_key=idempotency_key,
            created=self._database.clock(connection),
            attempt=1,
            row_count=0,
            message_count=1,
            webhook_url=webhook_url,
            webhook="WAITING" if webhook_url is not None else None,
        )
        if connection.execute(made).rowcount:
            self._append(connection, job_id, "messages", 0, ["LAUNCHING"])
        found = self.get(connection, job_id)
        if found is None:
            same_key = (jobs.c.owner == owner, jobs.c.family == family, jobs.c.idempotency_key == idempotency_key)
            found = JobRecord.of(connection.execute(sa.select(jobs).where(*same_key)).one())
        if found.request != request:
            raise KeyConflict
        return found

    def claim(self, connection: sa.Connection, job_id: str, attempt: int, worker: str) -> JobRecord:
        """The job, RUNNING and this worker's from now on.

        Raises:
            AttemptOver: when that attempt is not the current one, or the job is over.
        """
        row = self._current(connection, job_id, attempt)
        if row.worker not in (None, worker):
            raise AttemptOver
        values: dict[str, Any] = {"state": JobState.RUNNING.value, "worker": worker}
        if row.state == JobState.QUEUED:
            self._append(connection, job_id, "messages", row.message_count, ["RUNNING"])
            values["message_count"] = row.message_count + 1
        _update(connection, job_id, values)
        return JobRecord.of(connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one())

    def commit(self, connection: sa.Connection, new: Commit) -> None:
        """Appends rows and messages and replaces the progress.

        Raises:
            AttemptOver: when the attempt is over; nothing is written.
        """
        current = self._current(connection, new.job_id, new.attempt)
        row_count, message_count = new.counts_after
        values: dict[str, Any] = {"row_count": row_count, "message_count": message_count}
        if (current.row_count, current.message_count) == (new.row_count, new.message_count):
            self._append(connection, new.job_id, "data", new.row_count, new.rows)
            self._append(connection, new.job_id, "messages", new.message_count, map(_one_line, new.messages))
        elif (current.row_count, current.message_count) != new.counts_after:
            raise AttemptOver
        if new.progress is not None:
            values["progress"] = new.progress
        if new.rows:
            values["crashes"] = 0
        _update(connection, new.job_id, values)

    def finish(
        self,
        connection: sa.Connection,
        job_id: str,
        state: JobState,
        *,
        attempt: int | None = None,
        result: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Ends a job, with a last message line; False when it had ended already.

        Args:
            attempt: When given, only this attempt may end it.
            result: The result's fields, as JSON.

        Raises:
            AttemptOver: when that attempt is over.
        """
        try:
            current = self._current(connection, job_id, attempt)
        except AttemptOver:
            if attempt is not None:
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
        _update(connection, job_id, values)
        connection.execute(sa.delete(answers).where(answers.c.job_id == job_id))
        return True

    def next_attempt(self, connection: sa.Connection, job_id: str, attempt: int, crashes: int) -> int | None:
        """Ends `attempt` and returns the next one's number; None when another worker did, or the job ended.

        Args:
            crashes: Workers that died at the job in a row by now.
        """
        where = (jobs.c.job_id == job_id, jobs.c.attempt == attempt, jobs.c.state.in_(OPEN))
        changed = sa.update(jobs).where(*where).values(attempt=attempt + 1, worker=None, crashes=crashes)
        return attempt + 1 if connection.execute(changed).rowcount else None

    def uncount_crash(self, connection: sa.Connection, worker: str) -> None:
        """Takes one crash off the jobs of a worker that stops: taking them over counts one, and it did not crash."""
        own = (jobs.c.worker == worker, jobs.c.state.in_(OPEN))
        connection.execute(sa.update(jobs).where(*own).values(crashes=jobs.c.crashes - 1))

    def answer(self, connection: sa.Connection, job_id: str, key: str) -> str | None:
        """The recorded answer for `key` as JSON, or None."""
        where = (answers.c.job_id == job_id, answers.c.key == key)
        return connection.execute(sa.select(answers.c.answer).where(*where)).scalar_one_or_none()

    def record(self, connection: sa.Connection, job_id: str, key: str, answer: str) -> str:
        """The answer that is kept for `key`: an earlier one, else this one, recorded unless the job is over."""
        try:
            current = self._current(connection, job_id, None)
        except AttemptOver:
            return answer
        made = self._database.insert_new(answers).values(job_id=job_id, key=key, answer=answer)
        if connection.execute(made).rowcount:
            if current.crashes:
                _update(connection, job_id, {"crashes": 0})
            return answer
        return self.answer(connection, job_id, key) or answer

    def open_jobs(self, connection: sa.Connection, *, claimed: bool) -> list[sa.Row[Any]]:
        """Id, family, attempt, worker and crashes of every open job that a worker has claimed, or that none has."""
        condition = jobs.c.worker.is_not(None) if claimed else jobs.c.worker.is_(None)
        query = sa.select(jobs.c.job_id, jobs.c.family, jobs.c.attempt, jobs.c.worker, jobs.c.crashes)
        return list(connection.execute(query.where(jobs.c.state.in_(OPEN), condition)))

    def get(self, connection: sa.Connection, job_id: str) -> JobRecord | None:
        """The job, or None."""
        row = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
        return JobRecord.of(row) if row else None

    def view(self, connection: sa.Connection, job_id: str, *, rows: bool) -> JobView | None:
        """The job with its messages, and its rows too if wanted; or None."""
        if (record := self.get(connection, job_id)) is None:
            return None
        messages = _lines(connection, job_id, "messages", record.message_count)
        return JobView(record, messages, _lines(connection, job_id, "data", record.row_count) if rows else None)

    def find(
        self, connection: sa.Connection, *, owner: str, family: str, state: JobState | None, limit: int
    ) -> list[JobView]:
        """An owner's jobs of a family, newest first, each with its first message and its last ones, up to 100."""
        query = sa.select(jobs).where(jobs.c.owner == owner, jobs.c.family == family)
        if state is not None:
            query = query.where(jobs.c.state == state.value)
        # Read before the messages, and cut to the counts: on Postgres each statement sees a moment of its own.
        found = connection.execute(query.order_by(jobs.c.created.desc(), jobs.c.job_id).limit(limit)).all()
        views = {row.job_id: JobView(JobRecord.of(row), []) for row in found}
        recent = sa.or_(lines.c.sequence == 0, lines.c.sequence > jobs.c.message_count - _MESSAGES_LISTED)
        messages = (
            sa.select(lines.c.job_id, lines.c.sequence, lines.c.line)
            .join(jobs, jobs.c.job_id == lines.c.job_id)
            .where(lines.c.job_id.in_(list(views)), lines.c.stream == "messages", recent)
            .order_by(lines.c.job_id, lines.c.sequence)
        )
        for line in connection.execute(messages):
            view = views[line.job_id]
            if line.sequence < view.record.message_count:
                view.messages.append(line.line)
        return list(views.values())

    def _current(self, connection: sa.Connection, job_id: str, attempt: int | None) -> Any:
        """The row of an open job, locked, if `attempt` is its current one or None."""
        columns = (jobs.c.state, jobs.c.attempt, jobs.c.worker, jobs.c.row_count, jobs.c.message_count, jobs.c.crashes)
        query = sa.select(*columns).where(jobs.c.job_id == job_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None or row.state in FINAL or (attempt is not None and row.attempt != attempt):
            raise AttemptOver
        return row

    def _append(self, connection: sa.Connection, job_id: str, stream: str, start: int, new: Iterable[str]) -> None:
        values = [
            {"job_id": job_id, "stream": stream, "sequence": number, "line": line}
            for number, line in enumerate(new, start)
        ]
        if values:
            connection.execute(sa.insert(lines), values)


def _update(connection: sa.Connection, job_id: str, values: dict[str, Any]) -> None:
    connection.execute(sa.update(jobs).where(jobs.c.job_id == job_id).values(**values))


def _lines(connection: sa.Connection, job_id: str, stream: str, end: int) -> list[str]:
    where = (lines.c.job_id == job_id, lines.c.stream == stream, lines.c.sequence < end)
    return list(connection.execute(sa.select(lines.c.line).where(*where).order_by(lines.c.sequence)).scalars())


def _one_line(text: str) -> str:
    """`text` as one line that every text column takes."""
    return " ".join(_storable(text).splitlines())


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
