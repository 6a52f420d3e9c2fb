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

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.engine.jobs import views
from pi_integrations.engine.jobs.announcer import Announcer
from pi_integrations.engine.jobs.connections import dbos_url
from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.durable import Durable, QueueAway, announcement_id, workflow_id
from pi_integrations.engine.jobs.family import FamilyWork
from pi_integrations.engine.jobs.follower import Follower
from pi_integrations.engine.jobs.heartbeat import Heartbeat, new_worker_id
from pi_integrations.engine.jobs.records import JobRecord, JobView
from pi_integrations.engine.jobs.runner import Runner
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.jobs.store import JobStore, KeyConflict
from pi_integrations.engine.jobs.supervisor import Supervisor
from pi_integrations.engine.jobs.upkeep import Upkeep
from pi_integrations.engine.jobs.webhooks import WebhookSender
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
        settings: Where and for how long.
        families: The kinds of jobs there are. A process works on those it can, and takes the others for its peers.

    Raises:
        PiUsageError: when the settings or the data directory cannot be used.
    """

    def __init__(self, settings: JobSettings, families: Sequence[FamilyWork[Any]]) -> None:
        url = settings.database_url.get_secret_value() if settings.database_url else None
        worker = new_worker_id()
        own = [family for family in families if family.missing is None]
        self._database = Database(url, settings.data_dir)
        self._store = JobStore(self._database)
        self._upkeep = Upkeep(self._database)
        self._webhooks = WebhookSender(settings.webhook_hosts, settings.webhook_secret)
        self._announcer = Announcer(self._database, self._webhooks)
        self._runner = Runner(
            self._database,
            self._store,
            {family.path: family for family in families},
            worker,
            changed=self._changed,
            ended=lambda: self._supervisor.look(),
        )
        self._durable = Durable(
            url=dbos_url(url, settings.data_dir),
            worker=worker,
            queues={family.path: family.concurrency for family in own} | self._announcer.queues,
            perform=self._runner.perform,
            announce=self._announcer.announce,
        )
        self._heartbeat = Heartbeat(
            self._database,
            settings,
            worker=worker,
            families=[family.path for family in own],
            after=partial(self._let_go_of_lost, worker=worker),
            leave=partial(self._store.forgive, worker=worker),
        )
        self._supervisor = Supervisor(
            self._database,
            self._store,
            self._durable,
            self._heartbeat,
            settings,
            worker=worker,
            has_begun=self._has_begun,
        )
        self._follower: Follower | None = None

    async def start(self) -> None:
        """Joins the workers of the database, and takes up what was left undone.

        Raises:
            PiUsageError: when the database cannot be reached, or another engine of this process runs jobs.
        """
        self._durable.check_alone()
        await asyncio.to_thread(self._database.create_tables)
        self._follower = Follower(self._database)
        await self._heartbeat.start()
        await self._durable.launch()
        self._supervisor.start()

    async def end_streams(self) -> None:
        """Ends the streams that clients follow; they come back for the rest."""
        if self._follower is not None:
            await self._follower.aclose()

    async def stop(self) -> None:
        """Stops work where it is; other workers, or the next start, go on from there."""
        await self.end_streams()
        await self._runner.stop()
        await self._supervisor.stop()
        await self._durable.stop()
        # Last: until now the others were to leave our jobs alone.
        await self._heartbeat.stop()
        await self._database.aclose()

    async def submit(
        self, family: FamilyWork[Any], request: BaseModel, *, owner: str, idempotency_key: str | None = None
    ) -> JobView:
        """A new job on its queue; the same job for the same key and body.

        Raises:
            PiUsageError: when the request cannot be done here; nothing was made.
            KeyConflict: when the key made a job of another body.
            SQLAlchemyError: when the database is away.
        """
        webhook = await self._check(family, request)
        job = await self._database.write_soon(
            partial(
                self._store.create,
                job_id=uuid.uuid4().hex,
                family=family.path,
                owner=owner,
                request=request.model_dump_json(by_alias=True),
                idempotency_key=idempotency_key,
                webhook_url=webhook,
            )
        )
        if job.state is JobState.QUEUED:
            await self._schedule(job)
        try:
            view = await self.view(family, job.job_id, owner=owner)
        except SQLAlchemyError:
            view = None
        # The job is made, whatever becomes of looking at it.
        return view or JobView(job, ["LAUNCHING"], None)

    async def _check(self, family: FamilyWork[Any], request: BaseModel) -> str | None:
        """The request's webhook, when all of it can be done."""
        if family.missing is not None and family.path not in await self._database.read(self._upkeep.families):
            raise PiUsageError(family.missing)
        webhook = getattr(request, "webhook_url", None)
        if webhook is not None:
            self._webhooks.check(str(webhook))
        family.check(request)
        return None if webhook is None else str(webhook)

    async def _schedule(self, job: JobRecord) -> None:
        try:
            await self._durable.schedule(job.job_id, job.life, job.family)
        except QueueAway as error:
            # The job is made, and the supervisors queue what is not queued.
            logger.warning("job %s could not be queued at once: %s", job.job_id, error)

    async def view(self, family: FamilyWork[Any], job_id: str, *, owner: str, rows: bool = True) -> JobView | None:
        """The owner's job of that family with its messages, and unless told otherwise all its rows; or None."""
        if await self.get(family, job_id, owner=owner) is None:
            return None
        return await self._database.read(
            partial(views.view, job_id=job_id, rows=rows and family.family.item is not None)
        )

    async def get(self, family: FamilyWork[Any], job_id: str, *, owner: str) -> JobRecord | None:
        """The owner's job of that family, or None."""
        if not _JOB_ID.fullmatch(job_id):
            return None
        job = await self._database.read(partial(views.get, job_id=job_id))
        return job if job is not None and (job.family, job.owner) == (family.path, owner) else None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` returns, from one of the engine's own threads: the loop's are models' to keep."""
        return await self._database.in_thread(work)

    async def find(self, family: FamilyWork[Any], *, owner: str, state: JobState | None) -> list[JobView]:
        """The owner's jobs of that family without their rows, newest first, at most 1,000."""
        return await self._database.read(
            partial(views.list_jobs, owner=owner, family=family.path, state=state, limit=_LISTED)
        )

    def follow(self, job_id: str, stream: str, start: int) -> AsyncGenerator[list[str]]:
        """Lines of `data` (as JSON) or `messages` as they come; see `Follower.lines`."""
        assert self._follower is not None
        return self._follower.lines(job_id, stream, start)

    @property
    def readers(self) -> int:
        """How many streams are being followed in this process."""
        return self._follower.readers if self._follower is not None else 0

    async def cancel(self, job: JobRecord) -> bool:
        """Ends a job that goes on, and keeps what it made; False when it had ended already."""
        cancel = partial(self._store.finish, job_id=job.job_id, state=JobState.CANCELLED)
        ended = await self._database.write_soon(cancel)
        # One at work elsewhere lets go at its worker's next beat.
        self._runner.let_go([(job.job_id, job.life)])
        if ended:
            self._changed(job.job_id)
            self._supervisor.look()
            if job.worker is None:
                # Left on its queue it would be taken off and dropped.
                with suppress(QueueAway):
                    await self._durable.give_up(job.job_id, job.life)
        return ended

    def _let_go_of_lost(self, connection: sa.Connection, *, worker: str) -> Callable[[], None]:
        held = self._runner.at_work
        lost = held - self._upkeep.current_lives(connection, worker) if held else held
        return partial(self._runner.let_go, lost)

    def _has_begun(self, workflow: str) -> bool:
        lives = {workflow_id(*life) for life in self._runner.lives}
        return workflow in lives or workflow in map(announcement_id, self._announcer.at_work)

    def _changed(self, job_id: str) -> None:
        if self._follower is not None:
            self._follower.changed(job_id)
