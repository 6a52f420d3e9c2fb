"""The client against a server that misbehaves: what is retried, for how long, and what the errors say."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from typing import Any

import pytest
from fault_server import OK, FaultServer, fault_server, http

from pi_integrations import (
    AsyncPiClient,
    PiConnectionError,
    PiError,
    PiResponseError,
    PiStatusError,
    PiUsageError,
    RetryPolicy,
)

SPEC = [{"question": "Is it polite?", "label": "polite"}]
QUICK = RetryPolicy(attempts=3, initial=0.01, maximum=0.02, total=5)
KEY = "pi-secret-key-1234"


async def ask(server: FaultServer | str, **given: Any) -> float:
    url = server if isinstance(server, str) else server.url
    settings = {"retry": QUICK, "api_key": KEY, "timeout": 2.0} | given
    async with AsyncPiClient(base_url=url, **settings) as client:
        result = await client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC)
    return result.total_score


RETRIED = {
    "408": http(408, {"detail": "slow"}),
    "429": http(429, {"detail": "busy"}),
    "500": http(500, "oops"),
    "502": http(502, "<html>bad gateway</html>", content_type="text/html"),
    "503, retry-after-ms": http(503, {"detail": "wait"}, retry_after_ms="10"),
    "connection closed without an answer": b"",
    "body cut off half way": http(200, b"x" * 0)[:-2] + b'content-length: 500\r\n\r\n{"total',
    "JSON that ends early": http(200, '{"question_scores": {"polite": 0.9}, "tot'),
    "nothing at all": http(200, b""),
    "garbage instead of HTTP": b"\x00\x01\x02 not http\r\n\r\n",
}


@pytest.mark.parametrize("fault", RETRIED, ids=str)
async def test_passing_faults_are_retried(fault: str) -> None:
    """One fault, then a healthy answer: the caller sees the answer."""
    with fault_server(RETRIED[fault], OK) as server:
        assert await ask(server) == 0.9
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422])
async def test_other_client_errors_are_never_retried(status: int) -> None:
    """Not even when the server says that they may be: the same request fails the same way."""
    with fault_server(http(status, {"detail": "no"}, x_should_retry="true")) as server:
        with pytest.raises(PiStatusError) as raised:
            await ask(server)
        assert len(server.requests) == 1
    assert (raised.value.status, raised.value.detail) == (status, "no")


async def test_a_server_can_forbid_the_retry() -> None:
    """`x-should-retry: false` on a 502: the judge will never answer this."""
    with fault_server(http(502, {"detail": "refused"}, x_should_retry="false")) as server:
        with pytest.raises(PiStatusError, match="refused"):
            await ask(server)
        assert len(server.requests) == 1


async def test_the_last_real_error_ends_the_retries() -> None:
    """Its message tells the status, the attempts and what to try."""
    with fault_server(http(429, {"detail": "busy"}, x_request_id="r-1", retry_after_ms="20")) as server:
        with pytest.raises(PiStatusError) as raised:
            await ask(server)
        assert len(server.requests) == 3
    assert "POST /scoring_system/score answered 429: busy" in str(raised.value)
    assert "after 3 attempts" in str(raised.value)
    assert "max_concurrency" in str(raised.value)
    assert (raised.value.request_id, raised.value.retry_after) == ("r-1", pytest.approx(0.02))


async def test_retry_after_is_honoured() -> None:
    """The wait is the server's, not the policy's."""
    with fault_server(http(429, {}, retry_after_ms="300"), OK) as server:
        started = time.monotonic()
        await ask(server)
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
async def test_a_senseless_retry_after_does_no_harm(value: str) -> None:
    """Unreadable and past times are as good as none."""
    with fault_server(http(503, {}, retry_after=value), OK) as server:
        assert await ask(server) == 0.9


async def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    """The server asks for a minute, the policy has 5 s in all: the error comes at once and says both."""
    with fault_server(http(429, {"detail": "busy"}, retry_after="60")) as server:
        started = time.monotonic()
        with pytest.raises(PiStatusError, match="asks for 60 s"):
            await ask(server)
    assert time.monotonic() - started < 4


async def test_the_budget_cuts_the_last_attempt_short() -> None:
    """A server that never answers costs `total`, not attempts × timeout."""
    with fault_server(None) as server:
        started = time.monotonic()
        with pytest.raises(PiConnectionError):
            await ask(server, retry=RetryPolicy(attempts=100, initial=0.01, total=0.6), timeout=0.25)
    assert time.monotonic() - started < 10


async def test_queueing_for_a_slot_does_not_eat_the_retries() -> None:
    """One slot, six calls, each failing once: every one has its own budget, from its own first attempt."""
    fail = http(503, {"detail": "busy"}, retry_after_ms="1")
    with fault_server(*[fail] * 6, OK, delay=0.15) as server:
        retry = RetryPolicy(attempts=10, initial=0.01, maximum=0.02, total=4.0)
        async with AsyncPiClient(base_url=server.url, max_concurrency=1, retry=retry) as client:
            calls = [client.scoring_system.score(llm_input="", llm_output=str(i), scoring_spec=SPEC) for i in range(6)]
            assert len(await asyncio.gather(*calls)) == 6


async def test_a_timeout_says_so_and_what_to_raise() -> None:
    """One attempt, no answer."""
    with fault_server(None) as server:
        with pytest.raises(PiConnectionError, match=r"within 0\.1 s.*timeout="):
            await ask(server, retry=RetryPolicy(attempts=1), timeout=0.1)


async def test_a_slow_drip_cannot_outlast_the_timeout() -> None:
    """The timeout is for the whole attempt, not for each read."""
    with fault_server(http(200, b"{" * 10)[:-3], delay=0.3) as server:
        with pytest.raises(PiConnectionError):
            await ask(server, retry=RetryPolicy(attempts=1), timeout=0.2)


async def test_cancellation_is_never_swallowed() -> None:
    """Cancelled while waiting for an answer, and while waiting to retry."""
    for answer in (None, http(503, {}, retry_after="3")):
        with fault_server(answer) as server:
            task = asyncio.create_task(ask(server))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_nobody_listening_is_a_connection_error() -> None:
    """It names the endpoint and the attempts."""
    with pytest.raises(PiConnectionError, match=r"127\.0\.0\.1:9.*3 attempts"):
        await ask("http://127.0.0.1:9")


WRONG_SHAPES = {
    "HTML": (http(200, "<html>Hello</html>", content_type="text/html"), "text/html"),
    "a list": (http(200, [1, 2]), "scores"),
    "no scores": (http(200, {"total_score": 0.5}), "question_scores"),
    "a total that is text": (http(200, {"question_scores": {}, "total_score": "good"}), "total_score"),
    "a total of null": (http(200, {"question_scores": {}, "total_score": None}), "total_score"),
    "a score of 7": (http(200, {"question_scores": {"polite": 7}, "total_score": 0.5}), "less than or equal to 1"),
    "a total of -3": (http(200, {"question_scores": {"polite": 1}, "total_score": -3}), "total_score"),
    "scores of nothing": (http(200, {"question_scores": {}, "total_score": 0.5}), "without question_scores"),
    "the other generation": (
        http(200, {"dimension_scores": {"d": {"subdimension_scores": {}, "total_score": 1}}, "total_score": 1}),
        "without question_scores",
    ),
    "NaN": (http(200, '{"question_scores": {"a": NaN}, "total_score": 1}'), "question_scores"),
}


@pytest.mark.parametrize("shape", WRONG_SHAPES, ids=str)
async def test_a_success_of_the_wrong_shape_is_told_by_field(shape: str) -> None:
    """No retry, no invented number."""
    answer, says = WRONG_SHAPES[shape]
    with fault_server(answer) as server:
        with pytest.raises(PiResponseError, match="base_url") as raised:
            await ask(server)
        assert len(server.requests) == 1
    assert says in str(raised.value)


async def test_a_redirect_names_where_to() -> None:
    """Following it could send the key to another host."""
    with fault_server(http(308, "", location="https://elsewhere.example/")) as server:
        with pytest.raises(PiStatusError, match=r"https://elsewhere\.example/.*base_url"):
            await ask(server)


async def test_validation_details_read_as_a_sentence() -> None:
    """FastAPI's list of problems becomes field: message."""
    detail = [{"type": "x", "loc": ["body", "scoring_spec", 0, "weight"], "msg": "must be positive"}]
    with fault_server(http(422, {"detail": detail})) as server:
        with pytest.raises(PiStatusError, match=r"scoring_spec\.0\.weight: must be positive"):
            await ask(server)


async def test_what_was_sent_is_the_contract() -> None:
    """Key in the header, JSON in the body, nothing that was not given."""
    with fault_server(OK) as server:
        await ask(server)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /scoring_system/score HTTP/1.1")
    assert f"x-api-key: {KEY}".encode() in head
    assert b'"llm_output":"x"' in body
    assert b"aggregation_method" not in body


async def test_the_limit_holds_over_retries_and_tasks() -> None:
    """Forty tasks, three slots."""
    with fault_server(OK, delay=0.02) as server:
        async with AsyncPiClient(base_url=server.url, max_concurrency=3) as client:
            await asyncio.gather(
                *(client.scoring_system.score(llm_input="", llm_output=str(i), scoring_spec=SPEC) for i in range(40))
            )
        assert server.most_concurrent <= 3


async def test_the_key_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Not in repr, errors, tracebacks with local variables, or debug logs."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    for answer in (http(401, {"detail": "bad key"}), http(200, "<html>"), b""):
        with fault_server(answer) as server:
            client = AsyncPiClient(base_url=server.url, api_key=KEY, retry=RetryPolicy(attempts=1))
            shown += [repr(client), repr(client.settings), repr(vars(client))]
            with pytest.raises(PiError) as raised:
                await client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC)
            trace = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
            shown += ["".join(trace.format()), repr(raised.value)]
            await client.aclose()
    ours = [line for text in shown for line in text.splitlines() if KEY in line and "KEY" not in line]
    assert ours == []
    assert KEY not in caplog.text


def test_no_endpoint_names_the_ways_out() -> None:
    """Hosted, served, embedded."""
    with pytest.raises(PiUsageError) as raised:
        AsyncPiClient()
    for way in ("WITHPI_API_KEY", "PI_CLIENT_BASE_URL", "pi-integrations serve", "embedded"):
        assert way in str(raised.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://x:99999"}, "base_url"),
        ({"base_url": "http://user:two@x"}, "user name or a password"),
        ({"base_url": "http://x/?q=1"}, "query"),
        ({"base_url": "http://x", "timeout": "5"}, "timeout"),
        ({"base_url": "http://x", "api_key": ""}, "api_key is empty"),
        ({"base_url": "http://x", "retry": 3}, "RetryPolicy"),
        ({"base_url": "http://x", "timeout": 0}, "timeout"),
        ({"base_url": "http://x", "max_concurrency": 0}, "max_concurrency"),
        ({"base_url": "http://x", "api_key": "two\nlines"}, "api_key"),
        ({"base_url": "http://x", "unscored": "zero"}, "unscored"),
    ],
)
def test_wrong_settings_are_refused_by_name(given: dict[str, Any], says: str) -> None:
    """At construction, not at the first call."""
    with pytest.raises(PiUsageError, match=says) as raised:
        AsyncPiClient(**given)
    assert "two" not in str(raised.value)


def test_the_environment_completes_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key alone means the hosted service; a base URL wins over it."""
    monkeypatch.setenv("WITHPI_API_KEY", KEY)
    assert AsyncPiClient().settings.base_url == "https://api.withpi.ai/v1"
    monkeypatch.setenv("PI_CLIENT_BASE_URL", "http://localhost:9000/")
    assert AsyncPiClient().settings.base_url == "http://localhost:9000"


def test_every_network_exception_has_a_place_in_our_tree() -> None:
    """Each exception that httpx's and aiohttp's networks raise derives from one the transport catches."""
    import aiohttp
    import httpx

    caught = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, EOFError)
    own = [value for module in (httpx, aiohttp) for value in vars(module).values()]
    raised = [value for value in own if isinstance(value, type) and issubclass(value, Exception)]
    # Cookies, websockets and multipart bodies, which this API has none of.
    elsewhere = {"CookieConflict", "WSMessageTypeError", "WebSocketError", "EofStream"}
    elsewhere |= {"BadContentDispositionHeader", "BadContentDispositionParam"}
    assert [v for v in raised if not issubclass(v, caught) and v.__name__ not in elsewhere] == []
