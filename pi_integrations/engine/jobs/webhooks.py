"""Webhooks, which report that a job ended.

Signed as the Standard Webhooks specification (1.0.0) says, which OpenAI and others use too: the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature`, the last being `v1,` and the base64 of HMAC-SHA256 over
`id.timestamp.body`. Hosts must be allowed by the operator, redirects are not followed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from urllib.parse import SplitResult, urlsplit

import httpx
import sqlalchemy as sa
import tenacity
from pydantic import SecretStr

from pi_integrations.engine.jobs.database import FOREVER, Database
from pi_integrations.engine.jobs.heartbeat import Heartbeat, end_task
from pi_integrations.engine.jobs.store import JobStore
from pi_integrations.engine.jobs.tables import FINAL, JobRecord, jobs
from pi_integrations.errors import PiUsageError

__all__ = ["WebhookDelivery", "WebhookSender", "sign"]

logger = logging.getLogger(__name__)
_ATTEMPTS = 8
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 600.0
_TIMEOUT = 15.0
_AT_A_TIME = 8
_PORTS = {"http": 80, "https": 443}


@dataclass(eq=False)
class WebhookDelivery:
    """Delivers the webhooks of jobs that ended, eight at a time, each in one of the workers."""

    database: Database
    store: JobStore
    heartbeat: Heartbeat
    sender: WebhookSender
    worker: str
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def deliver(self) -> None:
        """Delivers, in the background, webhooks of jobs that ended and that no living worker delivers."""
        if not self.sender.allowed:
            return
        for job_id, holder in await self.database.read(self._undelivered):
            if len(self._tasks) < _AT_A_TIME:
                self._tasks[job_id] = asyncio.create_task(self._deliver(job_id, holder))

    async def stop(self) -> None:
        """Stops deliveries where they are; other workers, or the next start, begin them again."""
        for task in list(self._tasks.values()):
            await end_task(task)

    def _undelivered(self, connection: sa.Connection) -> list[tuple[str, str | None]]:
        where = (jobs.c.webhook == "WAITING", jobs.c.state.in_(FINAL))
        found = connection.execute(sa.select(jobs.c.job_id, jobs.c.webhook_worker).where(*where)).all()
        alive = self.heartbeat.alive(connection) - {self.worker}
        return [(job_id, holder) for job_id, holder in found if holder not in alive and job_id not in self._tasks]

    async def _deliver(self, job_id: str, holder: str | None) -> None:
        try:
            job = await self.database.write(partial(self._claim, job_id=job_id, holder=holder), patience=FOREVER)
            if job is not None:
                outcome = "DELIVERED" if await self.sender.send(job) else "FAILED"
                where = (jobs.c.job_id == job_id, jobs.c.webhook == "WAITING")
                mark = sa.update(jobs).where(*where).values(webhook=outcome)
                await self.database.write(lambda connection: connection.execute(mark), patience=FOREVER)
        finally:
            del self._tasks[job_id]

    def _claim(self, connection: sa.Connection, job_id: str, holder: str | None) -> JobRecord | None:
        """The job, when its webhook is this worker's to deliver from now on."""
        held = jobs.c.webhook_worker.is_not_distinct_from(holder)
        where = (jobs.c.job_id == job_id, jobs.c.webhook == "WAITING", held)
        claimed = connection.execute(sa.update(jobs).where(*where).values(webhook_worker=self.worker)).rowcount
        return self.store.get(connection, job_id) if claimed else None


class WebhookSender:
    """Sends the webhooks of jobs.

    Args:
        hosts: Hosts that may be called, `HOST` or `HOST:PORT`.
        secret: Signs; None when no host is allowed.
        first_pause: Seconds before the second attempt; they grow fourfold, to ten minutes.
    """

    def __init__(self, hosts: tuple[str, ...], secret: SecretStr | None, *, first_pause: float = _FIRST_PAUSE) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._secret = secret
        self._first_pause = first_pause

    @property
    def allowed(self) -> bool:
        """Whether any webhook may be called."""
        return bool(self._hosts) and self._secret is not None

    def check(self, url: str) -> None:
        """Raises PiUsageError when the operator has not allowed the URL's host, or it carries a name or password."""
        parts = urlsplit(url)
        if not self.allowed or not _names(parts) & self._hosts:
            raise PiUsageError(
                f"webhook_url: host {parts.netloc.rpartition('@')[2][:100]} is not one this engine may call; its"
                " operator allows hosts with --webhook-host (PI_ENGINE_WEBHOOK_HOSTS)"
            )
        if parts.username or parts.password:
            raise PiUsageError(
                "webhook_url: holds a user name or a password before its host, which are not kept; leave them out:"
                " requests are signed, and a receiver recognises the sender by that"
            )

    async def send(self, job: JobRecord) -> bool:
        """Whether the webhook took it: any 2xx, within eight attempts over about half an hour."""
        assert job.webhook_url is not None
        host = urlsplit(job.webhook_url).hostname
        body = _body(job)
        try:
            # Again: the worker that delivers may have other settings than the one that accepted the job.
            self.check(job.webhook_url)
            async for attempt in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type((httpx.HTTPError, OSError)),
                wait=tenacity.wait_exponential(self._first_pause, _LONGEST_PAUSE, exp_base=4, min=self._first_pause),
                stop=tenacity.stop_after_attempt(_ATTEMPTS),
                reraise=True,
            ):
                with attempt:
                    await self._post(job, body)
        except PiUsageError:
            logger.warning("the webhook of job %s is not called: its URL at %s is not allowed here", job.job_id, host)
            return False
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            logger.warning("the webhook of job %s at %s did not take it: %s", job.job_id, host, type(error).__name__)
            return False
        return True

    async def _post(self, job: JobRecord, body: bytes) -> None:
        assert job.webhook_url is not None and self._secret is not None
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "pi-integrations-engine",
            # The same in every attempt, so that a receiver can recognise a repetition.
            "webhook-id": job.job_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, job.job_id, timestamp, body),
        }
        async with httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT, trust_env=False) as client:
            async with client.stream("POST", job.webhook_url, content=body, headers=headers) as response:
                if not response.is_success:
                    raise httpx.HTTPStatusError(str(response.status_code), request=response.request, response=response)


def _names(parts: SplitResult) -> set[str]:
    """The names that an operator may give the host of a URL; none for a URL that is not of the web."""
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        return set()
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return {f"{host}:{port}", host} if port == _PORTS[parts.scheme] else {f"{host}:{port}"}


def sign(secret: SecretStr, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a body; `timestamp` is seconds since 1970."""
    message = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret.get_secret_value()), message, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _body(job: JobRecord) -> bytes:
    data = {"job_id": job.job_id, "path": job.family, "state": job.state.value, "rows": job.row_count}
    if job.error:
        data["error"] = job.error
    ended = datetime.fromtimestamp(job.finished or job.created, UTC).isoformat(timespec="milliseconds")
    event = {"type": f"job.{job.state.value.lower()}", "timestamp": ended, "data": data}
    return json.dumps(event, separators=(",", ":")).encode()
