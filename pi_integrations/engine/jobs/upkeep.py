"""What the supervisor asks and clears away; every function is one transaction of its caller's."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.tables import answers, jobs, lines, workers
from pi_integrations.models.jobs import JobState

__all__ = ["Upkeep"]

_FINAL = [state.value for state in JobState if state.final]
_OPEN = [state.value for state in JobState if not state.final]
# The owner of a job that is being removed: nobody's digest.
_NOBODY = "-"
_LINES_AT_A_TIME = 2000


class Upkeep:
    """Which jobs nobody works on, which webhooks nobody tells, and which jobs are past their time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claimed(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        """Id, family, life, worker and deaths of every job at work."""
        return list(connection.execute(self._open(jobs.c.worker.is_not(None))))

    def unclaimed(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        """Id, family, life and deaths of every job that no worker has claimed."""
        return list(connection.execute(self._open(jobs.c.worker.is_(None))))

    def _open(self, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
        query = sa.select(jobs.c.job_id, jobs.c.family, jobs.c.life, jobs.c.worker, jobs.c.deaths)
        return query.where(jobs.c.state.in_(_OPEN), condition)

    def current_lives(self, connection: sa.Connection, worker: str) -> set[tuple[str, int]]:
        """The jobs that a worker works on, and the life each is in."""
        return {(job.job_id, job.life) for job in connection.execute(self._open(jobs.c.worker == worker))}

    def webhooks(self, connection: sa.Connection, outcome: str) -> list[str]:
        """Jobs that ended whose webhook is WAITING, or QUEUED."""
        where = (jobs.c.webhook == outcome, jobs.c.state.in_(_FINAL))
        return list(connection.execute(sa.select(jobs.c.job_id).where(*where)).scalars())

    def mark_webhook(self, connection: sa.Connection, job_id: str, outcome: str) -> None:
        """Notes what became of a job's webhook; what was delivered stays so."""
        where = (jobs.c.job_id == job_id, jobs.c.webhook != "DELIVERED")
        connection.execute(sa.update(jobs).where(*where).values(webhook=outcome))

    def hide_ended(self, connection: sa.Connection, days: float) -> list[sa.Row[Any]]:
        """Hides some jobs that ended longer ago from their owners, and gives every hidden one: id and last life."""
        before = self._database.clock(connection) - days * 86_400.0
        where = (jobs.c.state.in_(_FINAL), jobs.c.finished < before, jobs.c.owner != _NOBODY)
        old = list(connection.execute(sa.select(jobs.c.job_id).where(*where).limit(100)).scalars())
        hidden = sa.update(jobs).where(jobs.c.job_id.in_(old))
        connection.execute(hidden.values(owner=_NOBODY, idempotency_key=None))
        query = sa.select(jobs.c.job_id, jobs.c.life).where(jobs.c.owner == _NOBODY).limit(100)
        return list(connection.execute(query))

    def delete_some(self, connection: sa.Connection, job_id: str) -> bool:
        """Removes some lines of a hidden job, and at last the job itself; whether it is gone."""
        for stream in ("data", "messages"):
            of_stream = (lines.c.job_id == job_id, lines.c.stream == stream)
            first = connection.execute(sa.select(sa.func.min(lines.c.sequence)).where(*of_stream)).scalar_one()
            if first is not None:
                some = (*of_stream, lines.c.sequence < first + _LINES_AT_A_TIME)
                connection.execute(sa.delete(lines).where(*some))
                return False
        for table in (answers, jobs):
            connection.execute(sa.delete(table).where(table.c.job_id == job_id))
        return True

    def families(self, connection: sa.Connection) -> set[str]:
        """The families that living workers can work on."""
        found = connection.execute(sa.select(workers.c.families)).scalars()
        return {path for families in found for path in json.loads(families)}
