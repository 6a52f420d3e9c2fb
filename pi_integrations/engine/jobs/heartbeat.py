"""The heartbeat of a worker: a row in the database with the time at which it was last alive."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import platform
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs.database import FOREVER, Database
from pi_integrations.engine.jobs.runner import Attempt, Runner
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import JobStore
from pi_integrations.engine.jobs.tables import dumps, workers

__all__ = ["Heartbeat", "end_task", "new_worker_id"]

logger = logging.getLogger(__name__)
_CANCEL_SECONDS = 0.2


@dataclass(eq=False)
class Heartbeat:
    """Beats every second, knows which workers are alive, and stops the work of attempts that this worker lost.

    Attributes:
        worker: This worker's id, from `new_worker_id`.
        families: Paths of the families it can work on.
        found_dead: Set when a beat found a dead worker.
    """

    database: Database
    store: JobStore
    runner: Runner
    settings: JobSettings
    worker: str
    families: Iterable[str]
    found_dead: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beats once, so that this worker is known before it takes a job, and then in the background."""
        await self.database.write(self._beat, patience=FOREVER)
        self._task = asyncio.create_task(self._keep_beating())

    async def stop(self) -> None:
        """Ends the beat and removes the row: the others need not wait for the silence."""
        if self._task is None:
            return
        await end_task(self._task)
        self._task = None
        with suppress(SQLAlchemyError):
            await self.database.write(self._last_beat, patience=2.0)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self.settings.beat_seconds)
            # Taken before the beat reads which attempts are current.
            claimed = self.runner.claimed
            try:
                found_dead, current = await self.database.write(self._beat, patience=FOREVER)
            except Exception:
                logger.exception("the heartbeat failed; trying again")
                continue
            self.runner.cancel(claimed - current)
            if found_dead:
                self.found_dead.set()

    def _beat(self, connection: sa.Connection) -> tuple[bool, set[Attempt]]:
        """Whether dead workers were found, whose rows are removed; and this worker's attempts that are current."""
        now = self.database.clock(connection)
        changed = sa.update(workers).where(workers.c.worker == self.worker).values(beat=now)
        if not connection.execute(changed).rowcount:
            made = self.database.insert_new(workers)
            connection.execute(made.values(worker=self.worker, beat=now, families=dumps(list(self.families))))
        alive = self.alive(connection)
        # By their beat too: one that was frozen may have come back since.
        dead = [row for row in connection.execute(sa.select(workers)) if row.worker not in alive]
        for row in dead:
            connection.execute(sa.delete(workers).where(workers.c.worker == row.worker, workers.c.beat == row.beat))
        claimed = self.store.open_jobs(connection, claimed=True)
        return bool(dead), {(job.job_id, job.attempt) for job in claimed if job.worker == self.worker}

    def _last_beat(self, connection: sa.Connection) -> None:
        own = sa.delete(workers).where(workers.c.worker == self.worker)
        # Not twice, where the answer to the first time was lost.
        if connection.execute(own).rowcount:
            self.store.uncount_crash(connection, self.worker)

    def alive(self, connection: sa.Connection) -> set[str]:
        """The workers that are alive; to be read after the jobs they are said to work on."""
        silent = self.database.clock(connection) - self.settings.silence_seconds
        found = connection.execute(sa.select(workers.c.worker, workers.c.beat))
        return {row.worker for row in found if row.beat >= silent and not _is_gone(row.worker)}

    def all_families(self, connection: sa.Connection) -> set[str]:
        """Paths of the families that the workers can work on."""
        found = connection.execute(sa.select(workers.c.families)).scalars()
        return {path for families in found for path in json.loads(families)}


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancels a task until it has ended: Python 3.11's `wait_for` may lose a cancellation that meets its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_SECONDS)


def new_worker_id() -> str:
    """An id unlike any other process's: its machine, its process number, its start, and something random."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid()) or 0}-{uuid.uuid4().hex[:16]}"


def _is_gone(worker: str) -> bool:
    """Whether a worker of this machine has died, which is known without a silence; False for those elsewhere."""
    machine, number, started, _ = worker.split("-")
    if os.name != "posix" or machine != _machine():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    now = _started(int(number))
    return now is not None and now != int(started)


@cache
def _machine() -> str:
    """This machine, and the space its process numbers are from: containers on one machine have several."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _started(number: int) -> int | None:
    """When a process started, in the kernel's ticks; 0 for a zombie; None where the system does not say."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in "ZX" else int(fields[19])
