"""Webhooks: whoever asked is told when a job ends.

Signed as the Standard Webhooks specification (1.0.0) says, which OpenAI and others use too: the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature`, the last being `v1,` and the base64 of HMAC-SHA256 over
`id.timestamp.body`. Hosts must be allowed by the operator, redirects are not followed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import httpx
import tenacity
from pydantic import SecretStr

from pi_integrations.engine.jobs.records import JobRecord
from pi_integrations.errors import PiUsageError

__all__ = ["WebhookSender", "sign"]

logger = logging.getLogger(__name__)
_ATTEMPTS = 8
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 600.0
_TIMEOUT = 15.0
_PORTS = {"http": 80, "https": 443}


class WebhookSender:
    """Tells webhooks that jobs ended.

    Args:
        hosts: Those that may be told, `HOST` or `HOST:PORT`.
        secret: Signs; None when no host is allowed.
        first_pause: Seconds before the second attempt; they grow fourfold, to ten minutes.
    """

    def __init__(self, hosts: tuple[str, ...], secret: SecretStr | None, *, first_pause: float = _FIRST_PAUSE) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._secret = secret
        self._first_pause = first_pause

    @property
    def allowed(self) -> bool:
        """Whether any webhook may be told."""
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
                " what comes is signed, and a receiver can tell by that who sends it"
            )

    async def send(self, job: JobRecord) -> bool:
        """Whether the webhook took it: any 2xx, within eight attempts over about half an hour."""
        assert job.webhook_url is not None
        host = urlsplit(job.webhook_url).hostname
        body = _body(job)
        try:
            # Again: who delivers may have other settings than who took the job.
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
            logger.warning("the webhook of job %s is not told: its URL at %s is not allowed here", job.job_id, host)
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
            # The same in every attempt, so that a receiver can tell a repetition.
            "webhook-id": job.job_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, job.job_id, timestamp, body),
        }
        async with httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT, trust_env=False) as client:
            async with client.stream("POST", job.webhook_url, content=body, headers=headers) as response:
                if not response.is_success:
                    raise httpx.HTTPStatusError(str(response.status_code), request=response.request, response=response)


def _names(parts: SplitResult) -> set[str]:
    """What an operator may call the host of a URL; nothing for a URL that is not of the web."""
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
