"""Streams of jobs, read from any loop and thread and left anywhere, over HTTP and in process: no leak, no warning."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from job_server import HOLD, job_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pi_integrations import AsyncPiClient, ClientSettings, PiClient, PiConnectionError, RetryPolicy
from pi_integrations.client.in_process import InProcessChannel

QUICK = RetryPolicy(attempts=3, initial=0.005, maximum=0.01, total=5)
ONCE = RetryPolicy(attempts=1)
LINES = [f"line {i}" for i in range(1000)]


def until(condition: Callable[[], bool], seconds: float = 3) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


async def first(client: AsyncPiClient) -> str:
    """The first item; the stream is left to whoever collects it."""
    async for text in client.data.generate.job("job-1").data():
        return text
    return ""


async def whole(client: AsyncPiClient) -> list[str]:
    return [text async for text in client.data.generate.job("job-1").data()]


def test_short_lived_loops_of_many_threads_share_one_client() -> None:
    """Each reads everything, on a loop that lives for one call."""
    with job_server(rows=LINES) as server:
        client = AsyncPiClient(base_url=server.url, retry=QUICK)
        found: list[list[str]] = []
        threads = [threading.Thread(target=lambda: found.append(asyncio.run(whole(client)))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == [LINES] * 6
        asyncio.run(client.aclose())


@pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])
def test_a_stream_left_in_the_middle_is_closed(bound: bool) -> None:
    """By a break, with no `aclose`: its connection goes, and the next call works."""
    with job_server(rows=LINES, state="RUNNING") as server:
        client = AsyncPiClient(base_url=server.url, retry=QUICK)

        async def session() -> None:
            assert await first(client) == "line 0"
            await asyncio.sleep(0)
            assert await asyncio.to_thread(until, lambda: server.open_streams == 0)
            assert await first(client) == "line 0"

        async def bound_session() -> None:
            async with client:
                await session()

        asyncio.run(bound_session() if bound else session())
        assert until(lambda: server.open_streams == 0)
        asyncio.run(client.aclose())
    gc.collect()


@pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])
async def test_a_reader_that_is_cancelled_leaves_nothing_open(bound: bool) -> None:
    """While it waits for the next line, and at any moment of opening."""
    with job_server(rows=["one"], state="RUNNING") as server:
        client = AsyncPiClient(base_url=server.url, retry=QUICK)
        if bound:
            await client.__aenter__()
        for delay in [0.05, *(i / 4000 for i in range(40))]:
            task = asyncio.create_task(whole(client))
            await asyncio.sleep(delay)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.to_thread(until, lambda: server.open_streams == 0)
        await (client.__aexit__(None, None, None) if bound else client.aclose())


def test_a_loop_that_is_closed_in_the_middle_leaves_nothing_open() -> None:
    """Without `asyncio.run` to tidy up: a loop stopped, closed and collected."""
    with job_server(rows=["one"], state="RUNNING") as server:
        client = AsyncPiClient(base_url=server.url, retry=QUICK)
        loop = asyncio.new_event_loop()
        items = client.data.generate.job("job-1").data()
        assert loop.run_until_complete(anext(items)) == "one"
        assert server.open_streams == 1
        loop.close()
        del items
        gc.collect()
        assert until(lambda: server.open_streams == 0)
        asyncio.run(client.aclose())


def test_a_plain_iterator_can_be_dropped_anywhere() -> None:
    """Closed, collected, or collected on another thread."""
    with job_server(rows=LINES, state="RUNNING") as server:
        with PiClient(base_url=server.url, retry=QUICK) as client:
            job = client.data.generate.job("job-1")
            kept = [iter(job.data()) for _ in range(3)]
            assert [next(items) for items in kept] == ["line 0"] * 3
            assert server.open_streams == 3
            kept[0].close()  # type: ignore[attr-defined]
            assert until(lambda: server.open_streams == 2)
            del kept[0]
            thread = threading.Thread(target=kept.clear)
            thread.start()
            thread.join()
            assert until(lambda: server.open_streams == 0)


def test_a_job_cancelled_from_another_thread_ends_its_stream() -> None:
    """What was made is given, and the stream ends in good order."""
    with job_server(rows=["one"], state="RUNNING") as server:
        with PiClient(base_url=server.url, retry=QUICK) as client:
            job = client.data.generate.job("job-1")
            items = job.data()
            assert next(items) == "one"
            threading.Timer(0.05, lambda: asyncio.run(job.asynchronous.cancel())).start()
            assert list(items) == []


def test_a_stream_goes_on_where_it_was_after_its_client_was_closed() -> None:
    """As any call after `close`: connections are opened anew."""
    with job_server(rows=[*LINES, "x" * 200_000, "last"]) as server:
        with PiClient(base_url=server.url, retry=QUICK) as client:
            items = client.data.generate.job("job-1").data()
            begin = [next(items) for _ in range(10)]
            client.close()
            assert (begin + list(items))[-1] == "last"
        client.close()


def test_a_hundred_thousand_lines_take_no_memory_and_little_time() -> None:
    """From a plain iterator, whose every step could cost a change of threads: a few MB at most."""
    rows = [f'{{"llm_input":"question {i}","llm_output":"answer"}}' for i in range(100_000)]
    with job_server(rows=rows) as server:
        with PiClient(base_url=server.url) as client:
            job = client.data.generate_input_response_pairs.job("job-1")
            assert next(job.data()).llm_input == "question 0"
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                assert sum(1 for _ in zip(job.data(), range(20_000), strict=False)) == 20_000
                peak = tracemalloc.get_traced_memory()[1] - before
            finally:
                tracemalloc.stop()
            started = time.perf_counter()
            assert sum(1 for _ in job.data()) == 100_000
            seconds = time.perf_counter() - started
    assert peak < 6_000_000
    assert seconds < 5


SCRIPT_FORK = """
import os, sys
from pi_integrations import PiClient
client = PiClient(base_url="{url}")
items = client.data.generate.job("job-1").data()
begin = [next(items) for _ in range(5)]
pid = os.fork()
rest = list(items)
assert begin + rest == ["line %d" % i for i in range(60000)], (os.getpid(), len(rest))
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_both_sides_of_a_fork_read_on_for_themselves() -> None:
    """In the middle of a stream: no line of the one is taken by the other."""
    with job_server(rows=[f"line {i}" for i in range(60_000)]) as server:
        script = SCRIPT_FORK.format(url=server.url)
        # Python 3.12 and later warn of forks while threads run.
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


SCRIPT_NEVER_CLOSED = """
from pi_integrations import AsyncPiClient, PiClient
import asyncio
items = PiClient(base_url="{url}").data.generate.job("job-1").data()
assert next(items) == "one"

async def left():
    async for text in AsyncPiClient(base_url="{url}").data.generate.job("job-1").data():
        return text

assert asyncio.run(left()) == "one"
"""


def test_streams_never_closed_end_with_the_process_in_silence() -> None:
    """No hang, no warning."""
    with job_server(rows=["one"], state="RUNNING") as server:
        command = [sys.executable, "-W", "error", "-c", SCRIPT_NEVER_CLOSED.format(url=server.url)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")


class Service:
    """An ASGI app with one job, in this process."""

    def __init__(self) -> None:
        self.sent = 0
        self.left = 0
        self.running = False
        self.fail_at: int | None = None
        self.hold_at: int | None = None
        self.lines = [f"line {i}" for i in range(100)]

    def app(self) -> Starlette:
        path = "/data/generate/{job_id}"
        routes = [Route(f"{path}/data", self.data), Route(path, self.status)]
        return Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.running = True
        yield
        self.running = False

    async def status(self, request: Request) -> Response:
        lines = len(self.lines)
        return JSONResponse({"job_id": "job-1", "state": "DONE", "detailed_status": [], "data": [""] * lines})

    async def data(self, request: Request) -> Response:
        start = int(request.query_params.get("start", "0"))
        return StreamingResponse(self.chunks(start), headers={"x-pi-stream-start": str(start)})

    async def chunks(self, start: int) -> AsyncIterator[bytes]:
        try:
            for i, line in enumerate(self.lines[start:], start):
                if i == self.fail_at:
                    self.fail_at = None
                    raise ValueError("the disk is full")
                if i == self.hold_at:
                    await asyncio.sleep(60)
                self.sent += 1
                yield f"{line}\n".encode()
        finally:
            self.left += 1


def over(service: Any, **given: Any) -> AsyncPiClient:
    settings = ClientSettings(base_url="http://in-process", **{"retry": QUICK, **given})
    return AsyncPiClient.over(lambda: InProcessChannel(service.app), settings)


async def test_lines_of_an_app_in_process_arrive_as_they_are_sent() -> None:
    """Line 3 is never sent, and those before it are there; leaving tells the app."""
    service = Service()
    service.hold_at = 3
    client = over(service)
    items = client.data.generate.job("job-1").data()
    assert [await asyncio.wait_for(anext(items), 10) for _ in range(3)] == ["line 0", "line 1", "line 2"]
    assert (service.running, service.left) == (True, 0)
    await items.aclose()
    assert await asyncio.to_thread(until, lambda: service.left == 1, 0.5)
    await client.aclose()
    assert not service.running


async def test_an_app_in_process_is_no_more_than_64_kib_ahead_of_its_reader() -> None:
    """It waits for the reader, however much it has to send."""
    service = Service()
    service.lines = ["x" * 1024] * 2000
    client = over(service)
    items = client.data.generate.job("job-1").data()
    await anext(items)
    await asyncio.sleep(0.1)
    assert 64 <= service.sent <= 200
    assert len([text async for text in items]) == 1999
    await client.aclose()


async def test_an_app_that_fails_in_the_middle_is_a_connection_error() -> None:
    """With its reason; with retries, the stream goes on behind the last line that came."""
    service = Service()
    service.fail_at = 40
    client = over(service, retry=ONCE)
    with pytest.raises(PiConnectionError, match="ValueError: the disk is full"):
        await whole(client)
    await client.aclose()
    service.fail_at = 40
    client = over(service)
    assert await whole(client) == service.lines
    await client.aclose()


async def test_a_silent_app_in_process_is_told_by_its_silence() -> None:
    """`timeout` is the longest silence."""
    service = Service()
    service.hold_at = 0
    client = over(service, timeout=0.1, retry=RetryPolicy(attempts=2, initial=0.01, total=0.3))
    with pytest.raises(PiConnectionError, match=r"heard nothing .* for 0\.1 s"):
        await whole(client)
    await client.aclose()


async def test_closing_ends_the_streams_before_the_app() -> None:
    """Of an app that waits, and of one that does not listen: its lifespan ends when nothing of it runs."""

    class Deaf(Service):
        def app(self) -> Any:
            inner = super().app()

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"line 0\n", "more_body": True})
                try:
                    await asyncio.sleep(60)
                finally:
                    self.left += self.running

            app.router = inner.router  # type: ignore[attr-defined]
            return app

    for service in (Service(), Deaf()):
        service.hold_at = 1
        client = over(service)
        items = client.data.generate.job("job-1").data()
        assert await anext(items) == "line 0"
        await asyncio.wait_for(client.aclose(), 3)
        assert (service.left, service.running) == (1, False)
        await items.aclose()


async def test_a_held_stream_of_a_bound_client_ends_with_it() -> None:
    """The connections of `async with` are closed with it, whatever is still read from them."""
    with job_server(rows=["one"], cuts=[HOLD]) as server:
        async with AsyncPiClient(base_url=server.url, retry=QUICK) as client:
            items = client.data.generate.job("job-1").data()
            assert await anext(items) == "one"
        assert await asyncio.to_thread(until, lambda: server.open_streams == 0)
        assert [text async for text in items] == []
        await client.aclose()
