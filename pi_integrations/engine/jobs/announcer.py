"""Telling webhooks that jobs ended: what the queue of announcements does."""

from __future__ import annotations

import logging
from functools import partial

from pi_integrations.engine.jobs import views
from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.durable import ANNOUNCEMENTS
from pi_integrations.engine.jobs.upkeep import Upkeep
from pi_integrations.engine.jobs.webhooks import WebhookSender

__all__ = ["Announcer"]

logger = logging.getLogger(__name__)
_AT_A_TIME = 8


class Announcer:
    """Tells a job's webhook that it ended, and notes what became of it."""

    def __init__(self, database: Database, sender: WebhookSender) -> None:
        self._database = database
        self._sender = sender
        self._upkeep = Upkeep(database)
        self.at_work: set[str] = set()

    @property
    def queues(self) -> dict[str, int]:
        """The queue to listen to, with its limit; none where webhooks are not allowed."""
        return {ANNOUNCEMENTS: _AT_A_TIME} if self._sender.allowed else {}

    async def announce(self, job_id: str) -> None:
        """Delivers one webhook; a job that is gone has none."""
        self.at_work.add(job_id)
        try:
            job = await self._database.read(partial(views.get, job_id=job_id), patience=float("inf"))
            if job is not None and job.webhook_url is not None:
                outcome = "DELIVERED" if await self._sender.send(job) else "FAILED"
                await self._database.write(partial(self._upkeep.mark_webhook, job_id=job_id, outcome=outcome))
        finally:
            self.at_work.discard(job_id)
