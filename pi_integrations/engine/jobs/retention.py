"""Old jobs go: some of each at a time, so that nobody waits long for the database."""

from __future__ import annotations

import asyncio
from functools import partial

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.durable import Durable
from pi_integrations.engine.jobs.upkeep import Upkeep

__all__ = ["Retention"]

_SWEEP_SECONDS = 60.0


class Retention:
    """Removes jobs that ended more than `days` ago, with all that they made; 0 removes none."""

    def __init__(self, database: Database, durable: Durable, days: float) -> None:
        self._database = database
        self._durable = durable
        self._days = days
        self._upkeep = Upkeep(database)
        self._swept = float("-inf")

    async def sweep(self) -> None:
        """Removes a part of what is old, and looks for more once a minute.

        A job disappears from its owner at once and from the disk little by little; whoever dies meanwhile is taken over
        by the next sweep.
        """
        now = asyncio.get_running_loop().time()
        if not self._days or now - self._swept < _SWEEP_SECONDS:
            return
        hidden = await self._database.write_soon(partial(self._upkeep.hide_ended, days=self._days))
        for job in hidden:
            # Of DBOS first: by the job alone it is known what there is.
            await self._durable.forget(job.job_id, job.life)
            while not await self._database.write_soon(partial(self._upkeep.delete_some, job_id=job.job_id)):
                pass
        if not hidden:
            self._swept = now
