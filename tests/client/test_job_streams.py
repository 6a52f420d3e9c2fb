"""Streams of jobs over a service that cuts, repeats, holds back and garbles: nothing is missed, nothing comes twice."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import pytest
from fault_server import http
from job_server import HOLD, JobServer, job_server

from pi_integrations import AsyncPiClient, PiConnectionError, PiResponseError, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.client import Job
from pi_integrations.models import InputResponsePair, SyntheticDataStatus, SyntheticInputsStatus

QUICK = RetryPolicy(attempts=3, initial=0.005, maximum=0.01, total=5)
TEXTS = ["Where is my order?", "Grüße aus Köln 🚲", "line\u2028separator", '"one\\ntwo"', '"quoted" word', "last\r"]
MEANT = [*TEXTS[:3], "one\ntwo", *TEXTS[4:]]
ROW = '{"llm_input":"in %d","llm_output":"out"}'


def client_of(server: JobServer, **given: object) -> AsyncPiClient:
    return AsyncPiClient(base_url=server.url, **{"retry": QUICK, "api_key": "pi-key", **given})  # type: ignore[arg-type]


def inputs(client: AsyncPiClient, job_id: str = "job-1") -> Job[SyntheticInputsStatus, str]:
    return client.data.generate.job(job_id)


def pairs(client: AsyncPiClient) -> Job[SyntheticDataStatus, InputResponsePair]:
    return client.data.generate_input_response_pairs.job("job-1")


async def read(server: JobServer, start: int = 0, **given: object) -> list[str]:
    async with client_of(server, **given) as client:
        return [text async for text in inputs(client).data(start)]


async def test_lines_are_cut_at_line_feeds_alone() -> None:
    """Not at the other line breaks of Unicode, and a JSON string is the text it stands for."""
    with job_server(rows=TEXTS) as server:
        assert await read(server) == MEANT


@pytest.mark.parametrize("honours_start", [True, False], ids=["start honoured", "start ignored"])
async def test_a_stream_cut_at_any_byte_goes_on_where_it_was(honours_start: bool) -> None:
    """A cut at every byte of head and body in turn: half lines, half letters, half chunk sizes."""
    with job_server(rows=TEXTS, honours_start=honours_start) as server:
        async with client_of(server) as client:
            for cut in range(420):
                server.cuts = [cut]
                assert [text async for text in inputs(client).data()] == MEANT, cut
        assert server.cuts == []


@pytest.mark.parametrize("honours_start", [True, False], ids=["start honoured", "start ignored"])
async def test_cuts_in_a_row_are_no_matter_while_there_is_progress(honours_start: bool) -> None:
    """Thirty cuts, ten times the attempts of the policy; `total` is counted from the last line."""
    rows = [ROW % i for i in range(200)]
    with job_server(rows=rows, honours_start=honours_start) as server:
        server.cuts = [400] * 30 if honours_start else [400 + 200 * i for i in range(30)]
        retry = RetryPolicy(attempts=3, initial=0.02, maximum=0.03, total=0.2)
        async with client_of(server, retry=retry) as client:
            found = [pair.llm_input async for pair in pairs(client).data()]
    assert found == [f"in {i}" for i in range(200)]


async def test_without_progress_the_cuts_end_in_an_error_that_says_where_to_go_on() -> None:
    """After `total` seconds, and not before."""
    with job_server(rows=TEXTS, cuts=[120] * 10_000) as server:
        started = time.monotonic()
        with pytest.raises(PiConnectionError, match=r"No new line came on \d+ connections.*start=0"):
            await read(server, retry=RetryPolicy(attempts=3, initial=0.01, maximum=0.05, total=0.4))
    assert 0.2 < time.monotonic() - started < 10


async def test_with_retries_off_the_first_cut_is_the_last() -> None:
    """`attempts=1`."""
    with job_server(rows=TEXTS, cuts=[120]) as server:
        with pytest.raises(PiConnectionError):
            await read(server, retry=RetryPolicy(attempts=1))
        assert len(server.paths("/data")) == 1


@pytest.mark.parametrize("honours_start", [True, False], ids=["start honoured", "start ignored"])
@pytest.mark.parametrize("start", [0, 1, 5, 6, 60])
async def test_start_leaves_items_out(start: int, honours_start: bool) -> None:
    """Also of a service that sends them all, and past the end."""
    with job_server(rows=TEXTS, honours_start=honours_start) as server:
        assert await read(server, start) == MEANT[start:]


@pytest.mark.parametrize("start", [-1, 1.5, "2", None])
async def test_a_start_that_is_no_count_is_refused_at_once(start: object) -> None:
    """Before anything is iterated or sent."""
    with job_server() as server:
        client = client_of(server)
        with pytest.raises(PiUsageError, match="start is"):
            inputs(client).data(start)  # type: ignore[arg-type]
        assert server.asked == []


async def test_an_item_arrives_while_the_job_runs() -> None:
    """Not only when the stream ends."""
    with job_server(rows=["first"], state="RUNNING") as server:
        async with client_of(server) as client:
            items = inputs(client).data()
            assert await asyncio.wait_for(anext(items), 10) == "first"
            server.rows.append("second")
            assert await asyncio.wait_for(anext(items), 10) == "second"
            server.state = "DONE"
            assert [text async for text in items] == []


async def test_a_silent_connection_is_replaced() -> None:
    """All lines but the end came, and then nothing."""
    with job_server(rows=TEXTS, cuts=[HOLD]) as server:
        assert await read(server, timeout=0.2) == MEANT
        assert [asked.query for asked in server.paths("/data")][1] == {"start": ["6"]}


async def test_a_reader_may_take_its_time() -> None:
    """Longer than `timeout` between two items: the silence is its own, and the connection is kept."""
    with job_server(rows=["one"], state="RUNNING") as server:
        async with client_of(server, timeout=0.3) as client:
            items = inputs(client).data()
            assert await anext(items) == "one"
            await asyncio.sleep(0.5)
            server.rows.append("two")
            assert await anext(items) == "two"
            await items.aclose()
        assert len(server.asked) == 1


async def test_a_job_that_is_quiet_for_long_is_no_failure() -> None:
    """Silences in a row for longer than the policy's `total`, and even with retries off."""
    for attempts in (3, 1):
        with job_server(state="RUNNING", cuts=[HOLD] * 4) as server:
            policy = RetryPolicy(attempts=attempts, initial=0.01, maximum=0.02, total=0.7)
            async with client_of(server, timeout=0.3, retry=policy) as client:
                items = inputs(client).data()
                first = asyncio.ensure_future(anext(items))
                while server.cuts:
                    assert not first.done()
                    await asyncio.sleep(0.01)
                server.rows.append("at last")
                assert await asyncio.wait_for(first, 10) == "at last"
                await items.aclose()


async def test_an_end_in_good_order_is_not_believed_while_the_job_runs() -> None:
    """As when an engine is stopped: the rest comes from the next one, though the job has ended meanwhile."""
    with job_server(rows=["one"]) as server:

        def restart() -> None:
            server.rows.append("two")
            server.on_stream_end = lambda: None

        server.on_stream_end = restart
        assert await read(server) == ["one", "two"]


async def test_a_service_that_counts_its_rows_is_not_asked_for_them_twice() -> None:
    """One that ignores `start` would send everything again, only to say that there is no more."""
    with job_server(rows=TEXTS, honours_start=False, knows_data_false=False) as server:
        assert await read(server) == MEANT
        assert len(server.paths("/data")) == 1


@pytest.mark.parametrize("honours_start", [True, False], ids=["start honoured", "start ignored"])
async def test_a_last_line_without_a_line_feed_is_a_line(honours_start: bool) -> None:
    """When it reads the same twice; a cut one does not."""
    with job_server(rows=TEXTS, last_feed=False, honours_start=honours_start) as server:
        assert await read(server) == MEANT


async def test_a_body_that_ends_with_its_connection_may_have_been_cut() -> None:
    """Without a length or chunks an end is no proof, so the stream is opened again until nothing new comes."""
    rows = [f"row {i}" for i in range(9)]
    with job_server(rows=rows, framed=False) as server:
        async with client_of(server) as client:
            for cut in range(60, 180):
                server.cuts = [cut] * (3 if cut >= 120 else 1)
                assert [text async for text in inputs(client).data()] == rows, cut


@dataclass(frozen=True)
class Refused:
    """An answer to the opening of a stream, and what is raised for it."""

    answer: bytes
    error: type[Exception]
    says: str


REFUSED = {
    "somebody else's job": Refused(
        http(404, {"detail": "no such job"}), PiStatusError, "Check the job id, that api_key"
    ),
    "no key": Refused(http(401, {"detail": "who?"}), PiStatusError, "WITHPI_API_KEY"),
    "a login page": Refused(http(200, "<html>", content_type="text/html"), PiResponseError, "web page"),
    "a redirect": Refused(http(307, "", location="https://x.example/"), PiStatusError, "base_url there"),
    "lines left out": Refused(http(200, "x\n", x_pi_stream_start="7"), PiResponseError, "begins at line 7"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_answer_that_is_no_stream_is_told_at_once(case: str) -> None:
    """It is asked once."""
    refused = REFUSED[case]
    with job_server(overrides={"GET /data/generate/job-1/data": [refused.answer]}) as server:
        with pytest.raises(refused.error, match=refused.says):
            await read(server)
        assert len(server.asked) == 1


async def test_opening_a_stream_is_retried_like_any_request() -> None:
    """A 503, a reset, then the stream."""
    faults = [http(503, {"detail": "starting"}, retry_after_ms="5"), b""]
    with job_server(rows=TEXTS, overrides={"GET /data/generate/job-1/data": faults}) as server:
        assert await read(server) == MEANT


GARBLED = {
    "prose": ("Here are your pairs:", "line 2 that cannot be read"),
    "half a row": ('{"llm_input":"x","llm_o', "line 2 that cannot be read"),
    "a row of other fields": ('{"question":"x"}', "llm_input: Field required"),
    "a number": ("7", "line 2 that cannot be read"),
    "no UTF-8": ('{"llm_input":"\udcff","llm_output":""}', "line 2 that cannot be read"),
}


@pytest.mark.parametrize("case", GARBLED)
async def test_a_row_that_cannot_be_read_is_named(case: str) -> None:
    """By number, after the rows before it, with the way on."""
    line, says = GARBLED[case]
    with job_server(rows=[ROW % 0, line, ROW % 2]) as server:
        async with client_of(server) as client:
            found = []
            with pytest.raises(PiResponseError, match=says):
                async for pair in pairs(client).data():
                    found += [pair.llm_input]
            assert found == ["in 0"]
            assert [pair.llm_input async for pair in pairs(client).data(start=2)] == ["in 2"]


async def test_a_text_that_is_not_utf_8_is_named() -> None:
    """Never decoded by guess."""
    with job_server(rows=["good", "\udcff\udcfe"]) as server:
        with pytest.raises(PiResponseError, match="line 2 that cannot be read: it is not UTF-8"):
            await read(server)


async def test_messages_end_with_the_state_and_keep_empty_lines() -> None:
    """No status is asked for: the last word says it."""
    messages = ["LAUNCHING", "RUNNING", "", '{"step": 1}', "DONE"]
    with job_server(messages=messages) as server:
        async with client_of(server) as client:
            assert [line async for line in inputs(client).messages()] == messages
        assert [asked.path for asked in server.asked] == ["/data/generate/job-1/messages"]


async def test_two_readers_of_one_stream_each_get_all() -> None:
    """Of one handle, at different speeds, one cut and one not."""
    with job_server(rows=[ROW % i for i in range(300)], cuts=[5000, None]) as server:
        async with client_of(server) as client:
            job = pairs(client)

            async def slow() -> list[str]:
                found = []
                async for pair in job.data():
                    found.append(pair.llm_input)
                    await asyncio.sleep(0)
                return found

            async def quick() -> list[str]:
                return [pair.llm_input async for pair in job.data()]

            assert await asyncio.gather(slow(), quick()) == [[f"in {i}" for i in range(300)]] * 2


@pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])
async def test_a_wait_that_was_cancelled_can_be_begun_again(bound: bool) -> None:
    """As with `asyncio.wait_for` in a loop: no item is lost and none comes twice."""
    with job_server(state="RUNNING") as server:
        client = client_of(server)
        async with client if bound else nullcontext():
            items = pairs(client).data()
            found: list[str] = []
            for wait in range(400):
                server.rows += [ROW % len(server.rows)]
                with suppress(TimeoutError):
                    found.append((await asyncio.wait_for(anext(items), 0.0005 * (wait % 12))).llm_input)
            server.state = "DONE"
            found += [pair.llm_input async for pair in items]
        await client.aclose()
    assert found == [f"in {i}" for i in range(400)]


async def test_a_stream_that_is_closed_or_broken_is_over() -> None:
    """As with any iterator; the bad line is not stepped over in silence."""
    with job_server(rows=[ROW % 0, "prose", ROW % 2]) as server:
        async with client_of(server) as client:
            items = pairs(client).data()
            await anext(items)
            with pytest.raises(PiResponseError):
                await anext(items)
            assert [pair async for pair in items] == []
            items = pairs(client).data()
            await items.aclose()
            assert [pair async for pair in items] == []


async def test_one_stream_has_one_reader_at_a_time() -> None:
    """A second one is told to have its own."""
    with job_server(state="RUNNING") as server:
        async with client_of(server) as client:
            items = inputs(client).data()
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0.05)
            for wrong in (anext(items), items.aclose()):
                with pytest.raises(PiUsageError, match="once for each reader"):
                    await wrong
            server.rows.append("one")
            assert await waiting == "one"
            await items.aclose()
