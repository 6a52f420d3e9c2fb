"""One client, called from everywhere: threads, short-lived loops, a running notebook loop, and after a fork."""

from __future__ import annotations

import asyncio
import copy
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fault_server import OK, fault_server
from questions import POLITE

from pi_integrations import AsyncPiClient, PiClient, PiUsageError
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.pacing import ConcurrencyLimiter
from pi_integrations.testing import Exchange, ScriptedJudge, embedded, scripted_client

SPEC = [{"question": POLITE}]


async def ask(client: AsyncPiClient, text: str = "x") -> float:
    return (await client.scoring_system.score(llm_input="", llm_output=text, scoring_spec=SPEC)).total_score


def test_eight_threads_of_short_lived_loops_share_one_client() -> None:
    """8 threads, a fresh loop for every batch, 200 calls each: no error, no hang."""
    done: list[float] = []
    with fault_server(OK) as server:
        client = AsyncPiClient(base_url=server.url, max_concurrency=4)

        def work() -> None:
            for _ in range(10):
                done.extend(asyncio.run(batch()))

        async def batch() -> list[float]:
            return await asyncio.gather(*(ask(client, str(i)) for i in range(20)))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(done) == 1600
        assert server.most_concurrent <= 4
        asyncio.run(client.aclose())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_whoever_copies_what_holds_a_client_has_the_same_one(copied: Callable[[Any], Any]) -> None:
    """As frameworks copy their components; its connections and its limit are one."""
    with embedded(judge=ScriptedJudge(default=0.5)) as client:
        assert copied({"client": client})["client"] is client
    asynchronous = AsyncPiClient(base_url="http://127.0.0.1:9")
    assert copied(asynchronous) is asynchronous


def test_a_sync_client_works_inside_a_running_loop() -> None:
    """As in a notebook cell: the loop runs, and the call is not awaited."""

    async def cell() -> float:
        with scripted_client({POLITE: 0.9}) as client:
            return client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC).total_score

    assert asyncio.run(cell()) == 0.9


def test_async_with_closes_what_it_opened_with_its_loop() -> None:
    """The same client, bound to one loop after another; nothing is left unclosed."""
    with fault_server(OK) as server:
        client = AsyncPiClient(base_url=server.url)

        async def session() -> float:
            async with client:
                return await ask(client)

        assert [asyncio.run(session()) for _ in range(3)] == [0.9] * 3
    gc.collect()  # an unclosed aiohttp session would warn here, and warnings are errors


def test_nested_async_with_keeps_the_connections_until_the_last_exit() -> None:
    """Entering twice on one loop is counted."""

    async def main() -> list[float]:
        with fault_server(OK) as server:
            client = AsyncPiClient(base_url=server.url)
            async with client:
                async with client:
                    first = await ask(client)
                return [first, await ask(client)]

    assert asyncio.run(main()) == [0.9, 0.9]


def test_a_sync_call_on_the_background_loop_raises_instead_of_hanging() -> None:
    """It would wait for itself."""

    async def wrong() -> None:
        with scripted_client({POLITE: 0.9}) as client:
            client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC)

    with pytest.raises(PiUsageError, match="background loop"):
        loop_thread().run(wrong())


def test_cancelling_a_call_cancels_it_on_the_background_loop() -> None:
    """And gives its slot back."""
    with fault_server(None, OK) as server:
        client = AsyncPiClient(base_url=server.url, max_concurrency=1)

        async def main() -> float:
            task = asyncio.create_task(ask(client))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.wait_for(ask(client), 5)

        assert asyncio.run(main()) == 0.9
        asyncio.run(client.aclose())


SCRIPT_AFTER_FORK = """
import os, sys
from pi_integrations.testing import Exchange, ScriptedJudge, embedded, scripted_client
embedded = scripted_client({"q": 0.9})
client = embedded.client()
ask = lambda: client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=[{"question": "q"}]).total_score
assert ask() == 0.9
pid = os.fork()
if pid == 0:
    ok = ask() == 0.9
    os._exit(0 if ok else 1)
assert os.waitpid(pid, 0)[1] == 0
assert ask() == 0.9
"""


def test_a_client_works_on_both_sides_of_a_fork() -> None:
    """As under a pre-forking server."""
    run = subprocess.run([sys.executable, "-c", SCRIPT_AFTER_FORK], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


SCRIPT_NEVER_CLOSED = """
from pi_integrations import PiClient
client = PiClient(base_url="{url}")
client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=[{{"question": "q"}}])
"""


def test_a_client_never_closed_ends_with_the_process_in_silence() -> None:
    """No hang, no "Unclosed client session"."""
    # Not `-X dev`: it puts asyncio into debug mode, which reports every callback that a busy machine makes slow.
    with fault_server(OK) as server:
        run = subprocess.run(
            [sys.executable, "-W", "always::ResourceWarning", "-c", SCRIPT_NEVER_CLOSED.format(url=server.url)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (run.returncode, run.stderr) == (0, "")


SCRIPT_ENGINE_NEVER_CLOSED = """
from pi_integrations import embedded
code = "def score(response_text, input_text, kwargs): return {'score': 1}"
spec = [{"question": "q"}, {"question": "c", "scoring_type": "PYTHON_CODE", "python_code": code}]
client = embedded(judge="baseline").client()
client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=spec)
"""


def test_an_engine_never_closed_ends_with_the_process_in_silence() -> None:
    """Its sandbox workers too: no hang, no traceback, no warning."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT_ENGINE_NEVER_CLOSED]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_collected_client_closes_its_connections() -> None:
    """Without a warning from aiohttp."""
    with fault_server(OK) as server:
        client = PiClient(base_url=server.url)
        client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC)
        del client
        gc.collect()


def test_the_limiter_serves_waiters_of_many_loops_in_turn() -> None:
    """No slot is lost to cancelled waits or closed loops."""
    limiter = ConcurrencyLimiter(2)
    most = current = 0
    lock = threading.Lock()

    async def hold() -> None:
        nonlocal most, current
        await limiter.acquire()
        try:
            with lock:
                current += 1
                most = max(most, current)
            await asyncio.sleep(0.001)
        finally:
            with lock:
                current -= 1
            limiter.release()

    async def some_cancelled() -> None:
        tasks = [asyncio.create_task(hold()) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[1::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    threads = [threading.Thread(target=lambda: asyncio.run(some_cancelled())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most <= 2

    async def both_slots_are_back() -> None:
        await asyncio.wait_for(asyncio.gather(limiter.acquire(), limiter.acquire()), 1)

    asyncio.run(both_slots_are_back())


def test_a_client_of_ones_own_limiter_shares_it() -> None:
    """Two clients, one limit."""
    limiter = ConcurrencyLimiter(2)
    with fault_server(OK, delay=0.02) as server:

        async def main() -> None:
            async with (
                AsyncPiClient(base_url=server.url, limiter=limiter) as one,
                AsyncPiClient(base_url=server.url, limiter=limiter) as two,
            ):
                await asyncio.gather(*(ask(client, str(i)) for i in range(10) for client in (one, two)))

        asyncio.run(main())
        assert server.most_concurrent <= 2


def test_importing_the_package_is_quick_and_loads_no_framework() -> None:
    """Under 150 ms at best, and without langchain, llama_index, torch, fastapi, httpx."""
    script = (
        "import sys, time; t = time.perf_counter(); import pi_integrations;"
        "print(time.perf_counter() - t, *sorted(sys.modules))"
    )
    quickest = float("inf")
    for _ in range(20):
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds, *modules = run.stdout.split()
        quickest = min(quickest, float(seconds))
        if quickest < 0.15:
            break
    roots = {module.partition(".")[0] for module in modules}
    assert roots.isdisjoint({"langchain_core", "langchain", "llama_index", "torch", "fastapi", "httpx", "pydantic"})
    assert quickest < 0.15


def test_submitting_does_not_start_a_second_loop() -> None:
    """One LoopThread a process, whoever asks first."""
    started = time.monotonic()
    loops = {id(loop_thread().loop) for _ in range(5)}
    assert len(loops) == 1
    assert time.monotonic() - started < 1


def test_the_background_loop_outlives_a_judge_that_exits(caplog: pytest.LogCaptureFixture) -> None:
    """SystemExit is given to the caller it belongs to; the next call works."""

    def script(exchange: Exchange, question: str) -> float:
        if exchange.llm_output == "exit":
            raise SystemExit(3)
        return 0.5

    with embedded(judge=ScriptedJudge(script)) as client:
        with pytest.raises(SystemExit):
            client.scoring_system.score(llm_input="", llm_output="exit", scoring_spec=[{"question": "Is it?"}])
        scores = client.scoring_system.score(llm_input="", llm_output="stay", scoring_spec=[{"question": "Is it?"}])
    assert scores.total_score == 0.5
    assert "the loop goes on" in caplog.text
