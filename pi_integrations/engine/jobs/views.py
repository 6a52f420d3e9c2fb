"""What is read of jobs; every function is one transaction of its caller's, and so shows one moment."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pi_integrations.engine.jobs.records import JobRecord, JobView
from pi_integrations.engine.jobs.tables import jobs, lines
from pi_integrations.models.jobs import JobState

__all__ = ["Counts", "counts", "get", "list_jobs", "some_lines", "view"]

Counts = tuple[int, int, JobState]
_MESSAGES_LISTED = 100
_CHARACTERS_AT_A_TIME = 1_000_000
_AT_ONCE = 50


def get(connection: sa.Connection, job_id: str) -> JobRecord | None:
    """The job, or None."""
    row = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
    return JobRecord.of(row) if row else None


def view(connection: sa.Connection, job_id: str, *, rows: bool) -> JobView | None:
    """The job with its messages, and its rows too if asked; or None."""
    record = get(connection, job_id)
    if record is None:
        return None
    messages = _lines(connection, job_id, "messages", record.message_count)
    return JobView(record, messages, _lines(connection, job_id, "data", record.row_count) if rows else None)


def list_jobs(
    connection: sa.Connection, *, owner: str, family: str, state: JobState | None, limit: int
) -> list[JobView]:
    """An owner's jobs of a family, newest first, each with its first message and its last ones, up to 100."""
    query = sa.select(jobs).where(jobs.c.owner == owner, jobs.c.family == family)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    # Read before the messages, and cut to the counts: on Postgres each statement sees a moment of its own.
    found = connection.execute(query.order_by(jobs.c.created.desc(), jobs.c.job_id).limit(limit)).all()
    records = [JobRecord.of(row) for row in found]
    messages: dict[str, list[str]] = {record.job_id: [] for record in records}
    recent = sa.or_(lines.c.sequence == 0, lines.c.sequence > jobs.c.message_count - _MESSAGES_LISTED)
    told = (
        sa.select(lines.c.job_id, lines.c.sequence, lines.c.line)
        .join(jobs, jobs.c.job_id == lines.c.job_id)
        .where(lines.c.job_id.in_(list(messages)), lines.c.stream == "messages", recent)
        .order_by(lines.c.job_id, lines.c.sequence)
    )
    counted = {record.job_id: record.message_count for record in records}
    for line in connection.execute(told):
        if line.sequence < counted[line.job_id]:
            messages[line.job_id].append(line.line)
    return [JobView(record, messages[record.job_id]) for record in records]


def some_lines(connection: sa.Connection, job_id: str, stream: str, start: int, limit: int) -> list[str]:
    """Lines of a stream from `start` on, in order, at most `limit` and about a million characters; data are JSON."""
    query = _query(job_id, stream).where(lines.c.sequence >= start).limit(limit)
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


def counts(connection: sa.Connection, job_ids: Iterable[str]) -> dict[str, Counts]:
    """Rows, messages and state of each of these jobs."""
    query = sa.select(jobs.c.job_id, jobs.c.row_count, jobs.c.message_count, jobs.c.state)
    found = connection.execute(query.where(jobs.c.job_id.in_(list(job_ids))))
    return {row.job_id: (row.row_count, row.message_count, JobState(row.state)) for row in found}


def _lines(connection: sa.Connection, job_id: str, stream: str, end: int) -> list[str]:
    return list(connection.execute(_query(job_id, stream).where(lines.c.sequence < end)).scalars())


def _query(job_id: str, stream: str) -> sa.Select[str]:
    where = (lines.c.job_id == job_id, lines.c.stream == stream)
    return sa.select(lines.c.line).where(*where).order_by(lines.c.sequence)
