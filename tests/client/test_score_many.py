"""`score_many`: any iterable, bounded memory, order, progress, single-flight, caching."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from questions import POLITE

from pi_integrations import AsyncPiClient, MemoryResultCache, PiClient, PiUsageError, Progress, Scored
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, embedded, scripted_client

SPEC = [{"question": POLITE}]


def by_length(exchange: Exchange, question: str) -> float:
    return len(exchange.llm_output) / 100


def rows(count: int) -> list[dict[str, str]]:
    return [{"llm_input": "", "llm_output": "x" * i} for i in range(count)]


async def collect(stream: AsyncIterator[Scored]) -> list[Scored]:
    return [scored async for scored in stream]


async def test_order_is_kept_whatever_finishes_first() -> None:
    """Answers come back slowest first; rows come out as they went in."""

    class Uneven(ScriptedJudge):
        async def answer(self, exchange: Exchange, questions: object) -> list[Verdict]:
            await asyncio.sleep(0.02 / (1 + len(exchange.llm_output)))
            return [Verdict(score=len(exchange.llm_output) / 100, method="scripted")]

    async with embedded(judge=Uneven()) as client:
        scored = await collect(client.scoring_system.score_many(rows(50), scoring_spec=SPEC))
    assert [s.index for s in scored] == list(range(50))
    assert [s.result.total_score for s in scored if s.result] == [max(i / 100, 0.01) for i in range(50)]


async def test_as_completed_yields_the_quick_ones_first() -> None:
    """The first row is slow and comes last."""

    class SlowFirst(ScriptedJudge):
        async def answer(self, exchange: Exchange, questions: object) -> list[Verdict]:
            await asyncio.sleep(0.2 if not exchange.llm_output else 0)
            return [Verdict(score=0.5, method="scripted")]

    async with embedded(judge=SlowFirst()) as client:
        scored = await collect(client.scoring_system.score_many(rows(5), scoring_spec=SPEC, ordered=False))
    assert scored[-1].index == 0
    assert sorted(s.index for s in scored) == list(range(5))


async def test_memory_is_bounded_by_the_window() -> None:
    """At most twice max_concurrency rows are read ahead of the one yielded."""
    read = 0

    def source() -> Iterator[tuple[str, str]]:
        nonlocal read
        for i in range(200):
            read += 1
            yield ("", str(i))

    async with scripted_client(default=0.5, max_concurrency=4) as client:
        given = 0
        async for _ in client.scoring_system.score_many(source(), scoring_spec=SPEC):
            given += 1
            assert read - given <= 8


async def test_a_bad_row_carries_its_error_and_the_rest_goes_on() -> None:
    """Missing text, the wrong type, and an unscored answer."""
    mixed = [("", "good"), {"llm_input": "only"}, ("", 3), ("", "unknown"), ("", "good")]
    script = {"good": 0.9}
    judge = ScriptedJudge(lambda e, q: script.get(e.llm_output) or Verdict.unscored("cannot tell", method="scripted"))
    async with embedded(judge=judge) as client:
        scored = await collect(client.scoring_system.score_many(mixed, scoring_spec=SPEC))
    assert [s.result is not None for s in scored] == [True, False, False, False, True]
    assert "row 1: llm_output is missing" in str(scored[1].error)
    assert "row 2: llm_output is int" in str(scored[2].error)
    assert "cannot tell" in str(scored[3].error)
    assert scored[1].row == {"llm_input": "only"}


async def test_a_wrong_spec_stops_before_the_first_row(client: AsyncPiClient) -> None:
    """It would fail for every row alike."""
    with pytest.raises(PiUsageError, match="scoring_spec"):
        await collect(client.scoring_system.score_many(rows(3), scoring_spec=[]))


async def test_identical_exchanges_in_flight_are_asked_once() -> None:
    """Forty equal rows, one answer."""
    judge = ScriptedJudge(default=0.5, delay=0.05)
    async with embedded(judge=judge) as client:
        scored = await collect(client.scoring_system.score_many([("a", "b")] * 40, scoring_spec=SPEC))
    assert len([s for s in scored if s.result]) == 40
    assert judge.asked == [(Exchange("a", "b"), POLITE)]


async def test_progress_counts_rows_and_failures(client: AsyncPiClient) -> None:
    """The total is known for a list, and not for a generator."""
    seen: list[Progress] = []
    await collect(client.scoring_system.score_many([("", "a"), ("", 1)], scoring_spec=SPEC, on_progress=seen.append))
    assert seen == [Progress(1, 0, 2), Progress(2, 1, 2)]
    await collect(
        client.scoring_system.score_many((r for r in [("", "a")]), scoring_spec=SPEC, on_progress=seen.append)
    )
    assert seen[-1] == Progress(1, 0, None)


async def test_async_iterables_and_objects_are_rows_too(client: AsyncPiClient) -> None:
    """Whatever has `llm_input` and `llm_output`."""

    async def source() -> AsyncIterator[Exchange]:
        yield Exchange("a", "b")

    scored = await collect(client.scoring_system.score_many(source(), scoring_spec=SPEC))
    assert scored[0].result is not None


async def test_leaving_early_cancels_what_is_in_flight() -> None:
    """No task outlives the loop body that broke off."""
    async with scripted_client(default=0.5) as client:
        stream = client.scoring_system.score_many(rows(1000), scoring_spec=SPEC)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        assert len(asyncio.all_tasks()) == 1


async def test_an_iterable_that_raises_raises_to_the_caller(client: AsyncPiClient) -> None:
    """Its own exception, unchanged."""

    def source() -> Iterator[tuple[str, str]]:
        yield ("", "a")
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        await collect(client.scoring_system.score_many(source(), scoring_spec=SPEC))


async def test_rows_come_out_while_the_source_is_still_being_read() -> None:
    """A slow source holds nothing back; results finished before it fails are given first."""
    given: list[int] = []
    came_out = asyncio.Event()

    async def source() -> AsyncIterator[tuple[str, str]]:
        for number in range(3):
            yield ("", str(number))
            await came_out.wait()  # goes on only when that row came out
            came_out.clear()
        raise OSError("disk gone")

    async with scripted_client(default=0.5) as client:
        with pytest.raises(OSError, match="disk gone"):
            async for scored in client.scoring_system.score_many(source(), scoring_spec=SPEC):
                given.append(scored.index)
                came_out.set()
    assert given == [0, 1, 2]


SCRIPT_LEFT_OPEN = """
from pi_integrations import embedded
client = embedded(judge="baseline").client()
rows = client.scoring_system.score_many([("q", "a"), ("q2", "b")], scoring_spec=[{"question": "x"}])
next(rows)
"""


def test_a_sync_stream_left_open_does_not_keep_the_process() -> None:
    """Nor does it print anything."""
    run = subprocess.run([sys.executable, "-c", SCRIPT_LEFT_OPEN], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")


SCRIPT_INTERRUPTED = """
import os, signal, threading
from pi_integrations.testing import ScriptedJudge, embedded
with embedded(judge=ScriptedJudge(default=0.5, delay=30)) as client:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        list(client.scoring_system.score_many([("q", "a")], scoring_spec=[{"question": "x"}]))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_stays_a_keyboard_interrupt() -> None:
    """The stream unwinds first, and hides nothing."""
    run = subprocess.run([sys.executable, "-c", SCRIPT_INTERRUPTED], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr) == ("interrupted\n", "")


def test_sync_progress_knows_the_length_of_a_list() -> None:
    """As the async one does."""
    seen: list[Progress] = []
    with scripted_client(default=0.5) as client:
        list(client.scoring_system.score_many([("", "a")], scoring_spec=SPEC, on_progress=seen.append))
    assert seen == [Progress(1, 0, 1)]


def test_sync_rows_are_read_off_the_background_loop() -> None:
    """A generator may block, and may itself use the client."""
    with scripted_client(by_length) as client:

        def source() -> Iterator[tuple[str, str]]:
            inner = client.scoring_system.score(llm_input="", llm_output="xx", scoring_spec=SPEC)
            yield ("", "x" * round(inner.total_score * 1000))

        scored = list(client.scoring_system.score_many(source(), scoring_spec=SPEC))
    assert [s.result.total_score for s in scored if s.result] == [0.2]


def test_cached_results_are_not_sent_again(judge: ScriptedJudge) -> None:
    """The same request once; another spec is another request."""
    with embedded(judge=judge, cache=MemoryResultCache(10)) as client:
        assert isinstance(client, PiClient)
        results = [
            client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC, aggregation_method=method)
            for method in (None, None, "HARMONIC_MEAN")
        ]
    assert results[0] is results[1]
    assert results[1] is not results[2]


def test_the_memory_cache_drops_what_was_used_longest_ago() -> None:
    """Reading counts as use."""
    with scripted_client(default=0.5) as client:
        result = client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=SPEC)
    cache = MemoryResultCache(max_entries=2)
    for key in ("a", "b"):
        cache.set(key, result)
    cache.get("a")
    cache.set("c", result)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
