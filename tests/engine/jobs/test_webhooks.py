"""Webhooks: signed, tried again, never redirected, and never lost with the worker that was telling them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from hook_receiver import Receiver, allowing, receiving
from pydantic import SecretStr
from tiny_jobs import Tiny, running, start

from pi_integrations.engine.jobs.webhooks import WebhookSender, sign
from pi_integrations.errors import PiUsageError

shared = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Served:
    """An engine and a receiver, shared by this module."""

    client: httpx.AsyncClient
    receiver: Receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with receiving() as receiver:
        async with running(Tiny(), allowing(tmp_path_factory.mktemp("jobs"), receiver)) as (client, _):
            yield Served(client, receiver)


@shared
async def test_webhook_is_told_once_and_signed_as_the_standard_says(served: Served) -> None:
    """Verified as a receiver does it, from the specification: HMAC-SHA256 over `id.timestamp.body`."""
    job = await start(served.client, batches=1, webhook_url=f"{served.receiver.url}/once?from=pi")
    await served.receiver.wait_for("/once?from=pi")
    await asyncio.sleep(0.5)
    ((headers, body),) = served.receiver.got["/once?from=pi"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"0123456789abcdef", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == job and abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    told = json.loads(body)
    assert told["type"] == "job.done"
    assert told["data"] == {"job_id": job, "path": "/test/count", "state": "DONE", "rows": 5}


@shared
async def test_webhook_is_told_of_errors_and_of_cancellation(served: Served) -> None:
    await start(served.client, end="stopped", webhook_url=f"{served.receiver.url}/error")
    job = await start(served.client, batches=500, latency=0.02, webhook_url=f"{served.receiver.url}/cancel")
    await served.client.delete(f"/test/count/{job}")
    for path, kind in (("/error", "job.error"), ("/cancel", "job.cancelled")):
        await served.receiver.wait_for(path)
        assert json.loads(served.receiver.got[path][0][1])["type"] == kind


@shared
async def test_webhook_that_fails_is_told_again_with_the_same_id(served: Served) -> None:
    served.receiver.statuses["/again"] = [500]
    await start(served.client, batches=0, webhook_url=f"{served.receiver.url}/again")
    await served.receiver.wait_for("/again", 2)
    assert len({headers["webhook-id"] for headers, _ in served.receiver.got["/again"]}) == 1


@shared
async def test_webhook_is_not_redirected(served: Served) -> None:
    served.receiver.statuses["/moved"] = [307]
    served.receiver.location = f"{served.receiver.url}/elsewhere"
    await start(served.client, batches=0, webhook_url=f"{served.receiver.url}/moved")
    await served.receiver.wait_for("/moved", 2)
    assert served.receiver.got["/elsewhere"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/",
        "http://good.example:8080/",
        "http://good.example@evil.example/",
        "https://good.example:80/",
        "ftp://good.example/",
        "http://good.example.evil.example/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://good.example:99999999/",
    ],
)
def test_host_that_is_not_allowed_is_refused(url: str) -> None:
    with pytest.raises(PiUsageError, match="not one this engine may call"):
        WebhookSender(("good.example",), SecretStr("s")).check(url)


@pytest.mark.parametrize(
    "url", ["http://good.example/x", "https://GOOD.example", "https://good.example:443/", "http://h:81/"]
)
def test_host_that_is_allowed_is_not_refused(url: str) -> None:
    WebhookSender(("Good.Example", "h:81"), SecretStr("s")).check(url)


def test_url_with_a_password_is_refused_for_that() -> None:
    """And the message does not repeat it."""
    with pytest.raises(PiUsageError, match="user name or a password") as refused:
        WebhookSender(("good.example",), SecretStr("s")).check("http://user:s3cret@good.example/")
    assert "s3cret" not in str(refused.value)


def test_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries' own tests."""
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
