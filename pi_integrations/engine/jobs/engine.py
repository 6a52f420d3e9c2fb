"""The job engine: everything about jobs that routes and the app need."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from pi_integrations.engine.jobs.database import Database, dbos_url
from pi_integrations.engine.jobs.dbos_queue import DbosQueue, QueueAway
from pi_integrations.engine.jobs.family import FamilyWork
from pi_integrations.engine.jobs.follower import Follower
from pi_integrations.engine.jobs.heartbeat import Heartbeat, new_worker_id
from pi_integrations.engine.jobs.runner import Runner
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import JobStore, KeyConflict
from pi_integrations.engine.jobs.supervisor import Supervisor
from pi_integrations.engine.jobs.tables import JobRecord, JobView
from pi_integrations.engine.jobs.webhooks import WebhookDelivery, WebhookSender
from pi_integrations.errors import PiUsageError
from pi_integrations.models.jobs import JobState

__all__ = ["JobEngine", "KeyConflict"]

T = TypeVar("T")

logger = logging.getLogger(__name__)
_LISTED = 1000
_JOB_ID = re.compile("[0-9a-f]{32}")


class JobEngine:
    """Starts, runs, follows and cancels jobs; one a process, on the loop that started it.

    Args:
        settings: Where jobs are kept, and for how long.
        works: Every family of jobs. This process works on those it can, and accepts jobs of the others for its peers.

    Raises:
        PiUsageError: when the settings or the data directory cannot be used.
    """

    def __init__(self, settings: JobSettings, works: Sequence[FamilyWork[Any]]) -> None:
        url = settings.database_url.get_secret_value() if settings.database_url else None
        worker = new_worker_id()
        own = {work.path: work.concurrency for work in works if work.missing is None}
        all_works = {work.path: work for work in works}
        self._database = database = Database(url, settings.data_dir)
        self._store = store = JobStore(database)
        self._follower = Follower(database)
        self._runner = runner = Runner(
            database, store, settings, all_works, worker, self._follower.changed, lambda: self._supervisor.wake()
        )
        self._queue = queue = DbosQueue(dbos_url(url, settings.data_dir), worker, own, runner.run)
        self._heartbeat = beat = Heartbeat(database, store, runner, settings, worker, own)
        self._sender = WebhookSender(settings.webhook_hosts, settings.webhook_secret)
        self._webhooks = webhooks = WebhookDelivery(database, store, beat, self._sender, worker)
        self._supervisor = Supervisor(database, store, queue, beat, runner, webhooks, settings, worker)

    async def start(self) -> None:
        """Joins the workers of the database, and continues jobs that no worker works on.

        Raises:
            PiUsageError: when the database cannot be reached, or another engine of this process runs jobs.
        """
        self._queue.check_alone()
        await asyncio.to_thread(self._database.create_tables)
        await self._heartbeat.start()
        await self._queue.launch()
        self._supervisor.start()

    async def end_streams(self) -> None:
        """Ends the streams that clients follow; they come back for the rest."""
        await self._follower.aclose()

    async def stop(self) -> None:
        """Stops work where it is; other workers, or the next start, continue it."""
        await self.end_streams()
        await self._runner.stop()
        await self._supervisor.stop()
        await self._webhooks.stop()
        await self._queue.stop()
        # Last: until now the others were to leave our jobs alone.
        await self._heartbeat.stop()
        await self._database.aclose()

    async def submit(
        self, work: FamilyWork[Any], request: BaseModel, *, owner: str, idempotency_key: str | None = None
    ) -> JobView:
        """A new job on its queue; the same job for the same key and body.

        Raises:
            PiUsageError: when the request cannot be done here; nothing was made.
            KeyConflict: when the key made a job of another body.
            SQLAlchemyError: when the database is away.
        """
        webhook = await self._check(work, request)
        create = partial(
            self._store.create,
            job_id=uuid.uuid4().hex,
            family=work.path,
            owner=owner,
            request=request.model_dump_json(by_alias=True),
            idempotency_key=idempotency_key,
            webhook_url=webhook,
        )
        job = await self._database.write(create)
        if job.state is not JobState.QUEUED:
            return await self.view(work, job.job_id, owner=owner) or JobView(job, [])
        try:
            await self._queue.enqueue(job.job_id, job.attempt, job.family)
        except QueueAway as error:
            # The supervisors queue what is not queued.
            logger.warning("job %s could not be queued at once: %s", job.job_id, error)
        return JobView(job, ["LAUNCHING"], [])

    async def _check(self, work: FamilyWork[Any], request: BaseModel) -> str | None:
        """The request's webhook, when all of it can be done."""
        if work.missing is not None and work.path not in await self._database.read(self._heartbeat.all_families):
            raise PiUsageError(work.missing)
        webhook = getattr(request, "webhook_url", None)
        if webhook is not None:
            self._sender.check(str(webhook))
        work.check(request)
        return None if webhook is None else str(webhook)

    async def view(self, work: FamilyWork[Any], job_id: str, *, owner: str, rows: bool = True) -> JobView | None:
        """The owner's job of that family with its messages, and its rows unless `rows` is False; or None."""
        if await self.get(work, job_id, owner=owner) is None:
            return None
        has_rows = rows and work.family.item is not None
        return await self._database.read(partial(self._store.view, job_id=job_id, rows=has_rows))

    async def get(self, work: FamilyWork[Any], job_id: str, *, owner: str) -> JobRecord | None:
        """The owner's job of that family, or None."""
        if not _JOB_ID.fullmatch(job_id):
            return None
        job = await self._database.read(partial(self._store.get, job_id=job_id))
        return job if job is not None and (job.family, job.owner) == (work.path, owner) else None

    async def find(self, work: FamilyWork[Any], *, owner: str, state: JobState | None) -> list[JobView]:
        """The owner's jobs of that family without their rows, newest first, at most 1,000."""
        find = partial(self._store.find, owner=owner, family=work.path, state=state, limit=_LISTED)
        return await self._database.read(find)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The result of `work`, from one of the engine's own threads."""
        return await self._database.in_thread(work)

    def follow(self, job_id: str, stream: str, start: int) -> AsyncGenerator[list[str]]:
        """Lines of `data` (as JSON) or `messages` as they are written; see `Follower.lines`."""
        return self._follower.lines(job_id, stream, start)

    @property
    def readers(self) -> int:
        """How many streams are being followed in this process."""
        return self._follower.readers

    async def cancel(self, job: JobRecord) -> bool:
        """Ends an open job and keeps what it made; False when it had ended already."""
        ended = await self._database.write(partial(self._store.finish, job_id=job.job_id, state=JobState.CANCELLED))
        # A job at work elsewhere is stopped at its worker's next beat.
        self._runner.cancel([(job.job_id, job.attempt)])
        if ended:
            self._follower.changed(job.job_id)
            self._supervisor.wake()
            if job.worker is None:
                # Left on its queue it would be taken off and dropped.
                with suppress(QueueAway):
                    await self._queue.cancel(job.job_id, job.attempt)
        return ended
