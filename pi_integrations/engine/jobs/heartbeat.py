"""The heartbeat of a worker: a row in the database that says when it was last alive."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.records import dumps
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.tables import workers

__all__ = ["Heartbeat", "new_worker_id"]

logger = logging.getLogger(__name__)
_CANCEL_SECONDS = 0.2


class Heartbeat:
    """Beats every second, and knows which workers live.

    Args:
        worker: This worker's id, from `new_worker_id`.
        families: What it can work on.
        after: Called after each beat, in the same transaction, for whatever is to be looked at every second.
        leave: Called in the transaction that says that this worker stops.
    """

    def __init__(
        self,
        database: Database,
        settings: JobSettings,
        *,
        worker: str,
        families: Iterable[str],
        after: Callable[[sa.Connection], Callable[[], None]],
        leave: Callable[[sa.Connection], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._worker = worker
        self._families = dumps(list(families))
        self._after = after
        self._leave = leave
        self._task: asyncio.Task[None] | None = None
        self.found_dead = asyncio.Event()

    async def start(self) -> None:
        """Beats once, so that this worker is known before it takes a job, and goes on in the background."""
        await self._database.write(self._beat)
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Ends the beat and says so: the others need not wait for the silence."""
        if self._task is None:
            return
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)
        self._task = None
        with suppress(SQLAlchemyError):
            await self._database.write_soon(self._last_beat, patience=2.0)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._settings.beat_seconds)
            try:
                died, and_then = await self._database.write(self._beat)
            except Exception:
                logger.exception("the heartbeat failed; trying again")
                continue
            and_then()
            if died:
                self.found_dead.set()

    def _beat(self, connection: sa.Connection) -> tuple[bool, Callable[[], None]]:
        """Whether workers were found dead, whose rows are removed, and what is to be done after the transaction."""
        now = self._database.clock(connection)
        changed = sa.update(workers).where(workers.c.worker == self._worker).values(beat=now)
        if not connection.execute(changed).rowcount:
            made = self._database.insert_new(workers)
            connection.execute(made.values(worker=self._worker, beat=now, families=self._families))
        alive = self.alive(connection)
        # By their beat too: one that was frozen may have come back since.
        dead = [row for row in connection.execute(sa.select(workers)) if row.worker not in alive]
        for row in dead:
            connection.execute(sa.delete(workers).where(workers.c.worker == row.worker, workers.c.beat == row.beat))
        return bool(dead), self._after(connection)

    def _last_beat(self, connection: sa.Connection) -> None:
        own = sa.delete(workers).where(workers.c.worker == self._worker)
        # Not twice, where the answer to the first time was lost.
        if connection.execute(own).rowcount:
            self._leave(connection)

    def alive(self, connection: sa.Connection) -> set[str]:
        """The workers that live; to be read after whatever they are said to work on."""
        silent = self._database.clock(connection) - self._settings.silence_seconds
        found = connection.execute(sa.select(workers.c.worker, workers.c.beat))
        return {row.worker for row in found if row.beat >= silent and not _is_gone(row.worker)}


def new_worker_id() -> str:
    """An id unlike any other process's: where it runs, its number there, when it began, and something random."""
    return f"{_place()}-{os.getpid()}-{_began(os.getpid()) or 0}-{uuid.uuid4().hex[:16]}"


def _is_gone(worker: str) -> bool:
    """Whether a worker of this machine has died, which need not be waited for; False for those elsewhere."""
    place, number, began, _ = worker.split("-")
    if os.name != "posix" or place != _place():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    now = _began(int(number))
    return now is not None and now != int(began)


@cache
def _place() -> str:
    """This machine, and the space its process numbers are from: containers on one machine have several."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _began(number: int) -> int | None:
    """When a process began, in the kernel's ticks; 0 for one that died and was not buried; None where none tells."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in "ZX" else int(fields[19])
