"""Exchanges that handlers defer to a BackgroundScorer: read in order, with their context, and counted as unread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from pi_integrations import AsyncPiClient, embedded
from pi_integrations.background import BackgroundScore, BackgroundScorer, MemorySink, ScorerCounts
from pi_integrations.errors import PiUsageError
from pi_integrations.testing import ScriptedJudge

RUBRIC = [{"question": "Is the answer polite?"}]


def submits(scorer: BackgroundScorer, answer: str, **options: Any) -> None:
    scorer.submit(llm_input="Hello?", llm_output=answer, **options)


def eventually(is_so: Any) -> bool:
    """Whether it becomes so within ten seconds."""
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(is_so())


def test_what_is_deferred_is_scored_without_being_asked_for(client: AsyncPiClient) -> None:
    """Also after a second without work."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for number in range(2):
            scorer.defer(submits, scorer, "Good day.")
            assert eventually(lambda number=number: len(sink.scores) == number + 1)
            time.sleep(1.3)


def test_tasks_run_in_order_on_one_thread(client: AsyncPiClient) -> None:
    """The scorer's own, not the application's."""
    seen: list[tuple[int, int]] = []
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        for number in range(500):
            scorer.defer(lambda number: seen.append((number, threading.get_ident())), number)
        assert eventually(lambda: len(seen) == 500)
    assert [number for number, _ in seen] == list(range(500))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_flush_waits_for_unread_exchanges(client: AsyncPiClient) -> None:
    """They are read by the scorer's thread, and scored."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        for number in range(50):
            scorer.defer(submits, scorer, f"Good day {number}")
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=50, scored=50)


@pytest.mark.parametrize("hanging", ["filter", "sink"])
def test_counts_say_how_many_are_unread_and_never_wait(client: AsyncPiClient, hanging: str) -> None:
    """While the scorer's thread hangs in a filter or a sink of the application's; no thread is started to help."""
    hangs, release = threading.Event(), threading.Event()

    def hang(_: object) -> bool:
        hangs.set()
        return release.wait(30)

    options: dict[str, Any] = {"names": hang} if hanging == "filter" else {"sink": hang}
    with BackgroundScorer(RUBRIC, client=client, **options) as scorer:
        scorer.defer(submits, scorer, "Good day.")
        assert hangs.wait(10)
        for _ in range(3):
            scorer.defer(submits, scorer, "Good night.")
        threads, started = threading.active_count(), time.monotonic()
        counts = [scorer.counts() for _ in range(20)]
        assert time.monotonic() - started < 0.5
        assert threading.active_count() == threads
        expected = ScorerCounts(unread=4) if hanging == "filter" else ScorerCounts(submitted=1, pending=1, unread=3)
        assert set(counts) == {expected}
        release.set()
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=4, scored=4)


def test_an_unread_exchange_may_turn_out_to_be_left_out(client: AsyncPiClient) -> None:
    """It was unread, and is counted as filtered out once it is read."""
    with BackgroundScorer(RUBRIC, client=client, names="support") as scorer:
        scorer.defer(lambda: submits(scorer, "Good day.", name="search"))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(filtered_out=1)


async def test_aflush_includes_what_was_not_read_yet(client: AsyncPiClient) -> None:
    """As `flush` does."""
    async with BackgroundScorer(RUBRIC, client=client) as scorer:
        scorer.defer(submits, scorer, "Good day.")
        assert await scorer.aflush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, scored=1)


def test_a_task_has_the_context_of_where_it_was_deferred(client: AsyncPiClient) -> None:
    """So that filters, and what looks for the current span, see what they would have seen then."""
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        token = who.set("the application")
        scorer.defer(lambda: seen.append(who.get()))
        who.reset(token)
        scorer.catch_up()
    assert seen == ["the application"]


@pytest.mark.parametrize("error", [ValueError("unreadable"), SystemExit(1), KeyboardInterrupt()])
def test_a_task_that_raises_counts_as_failed(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """It is logged once per kind, and costs those behind it nothing."""

    def fail() -> None:
        raise error

    sink = MemorySink()
    with caplog.at_level(logging.WARNING), BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for _ in range(3):
            scorer.defer(fail)
        scorer.defer(submits, scorer, "Good day.")
        assert eventually(lambda: len(sink.scores) == 1)
        assert scorer.counts() == ScorerCounts(submitted=4, scored=1, failed=3)
    assert [type(error).__name__ in record.message for record in caplog.records] == [True]


def test_a_task_may_ask_how_things_stand_and_leave_more(client: AsyncPiClient) -> None:
    """It waits for nothing, and what it leaves comes after what was there."""
    seen: list[Any] = []
    all_there = threading.Event()
    with BackgroundScorer(RUBRIC, client=client) as scorer:

        def ask() -> None:
            all_there.wait(10)
            scorer.defer(seen.append, "later")
            seen.append(scorer.counts().submitted)

        scorer.defer(ask)
        scorer.defer(seen.append, "next")
        all_there.set()
        assert eventually(lambda: len(seen) == 3)
    assert seen == [0, "next", "later"]


def test_more_than_may_wait_are_dropped(client: AsyncPiClient) -> None:
    """Behind a sink that hangs nothing grows without bound, all is counted, and no filter runs where they came."""
    release = threading.Event()
    asked: set[int] = set()

    def hang(score: BackgroundScore) -> None:
        release.wait(30)

    def all_names(name: str | None) -> bool:
        asked.add(threading.get_ident())
        return True

    with BackgroundScorer(RUBRIC, client=client, sink=hang, max_queue=100, names=all_names) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day.")
        time.sleep(0.3)
        asked.clear()
        for _ in range(500):
            scorer.defer(submits, scorer, "Good day.")
        assert asked == set()
        assert scorer.counts() == ScorerCounts(submitted=401, pending=1, dropped=400, unread=100)
        release.set()
        assert scorer.flush(10)
        assert threading.get_ident() not in asked
        assert scorer.counts() == ScorerCounts(submitted=501, scored=101, dropped=400)


def test_after_close_tasks_run_at_once(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """What they submit is dropped, and counted."""
    scorer = BackgroundScorer(RUBRIC, client=client)
    scorer.defer(submits, scorer, "Good day.")
    scorer.close(10)
    for _ in range(2):
        scorer.defer(submits, scorer, "Too late.")
    assert scorer.counts() == ScorerCounts(submitted=3, scored=1, dropped=2)
    time.sleep(0.1)
    seen: list[str] = []
    scorer.defer(seen.append, "at once")
    assert seen == ["at once"]


def test_threads_that_defer_and_ask_lose_nothing(client: AsyncPiClient) -> None:
    """Eight at a time, each asking after every twentieth."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:

        def work(thread: int) -> None:
            for number in range(200):
                scorer.defer(submits, scorer, f"Good day {thread} {number}")
                if number % 20 == 0:
                    counts = scorer.counts()
                    assert counts.submitted == counts.scored + counts.failed + counts.dropped + counts.pending

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert scorer.flush(30)
        assert scorer.counts() == ScorerCounts(submitted=1_600, scored=1_600)


class Slow:
    """A filter of the application's: lets everything through, each after `seconds`, or when it is released."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.release = threading.Event()

    def __call__(self, name: str | None) -> bool:
        self.release.wait(self._seconds)
        return True


@pytest.mark.parametrize("seconds", [0.15, 30.0])
def test_a_filter_that_is_slow_or_hangs_holds_up_nobody_longer_than_they_wait(
    client: AsyncPiClient, seconds: float
) -> None:
    """Neither `flush` nor the counts, nor closing; what was not read is dropped then."""
    slow = Slow(seconds)
    scorer = BackgroundScorer(RUBRIC, client=client, names=slow)
    for _ in range(100):
        scorer.defer(submits, scorer, "Good day.")
    started = time.monotonic()
    assert not scorer.flush(0.1)
    assert time.monotonic() - started < 3.0
    scorer.counts()
    scorer.close(0.1)
    assert time.monotonic() - started < 8.0
    slow.release.set()
    assert eventually(lambda: scorer.counts().submitted == 100)
    counts = scorer.counts()
    assert counts.pending == counts.failed == 0
    assert counts.dropped >= 40


async def test_a_filter_that_hangs_does_not_block_the_loop(client: AsyncPiClient) -> None:
    """While `aflush` and `aclose` wait, other tasks go on."""
    slow = Slow(30.0)
    scorer = BackgroundScorer(RUBRIC, client=client, names=slow)
    for _ in range(100):
        scorer.defer(submits, scorer, "Good day.")
    longest, stop = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while not stop.is_set():
            started = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - started)

    ticking = asyncio.create_task(tick())
    assert not await scorer.aflush(2.0)
    await scorer.aclose(2.0)
    stop.set()
    await ticking
    assert longest < 1.5
    slow.release.set()
    assert eventually(lambda: scorer.counts() == ScorerCounts(submitted=100, dropped=100))


def test_a_filter_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    """Longer than `exit_timeout` says; both unread exchanges are dropped, and that is logged."""
    code = textwrap.dedent(
        """
        import time
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer

        def hang(name):
            time.sleep(1000)

        client = embedded(judge="baseline").client()
        scorer = BackgroundScorer([{"question": "Is it polite?"}], client=client, names=hang, exit_timeout=0.5)
        scorer.defer(lambda: scorer.submit(llm_input="Hello?", llm_output="Good day."))
        scorer.defer(lambda: scorer.submit(llm_input="Hello?", llm_output="Good day."))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "stopped before 2 exchanges had scores" in done.stderr


async def test_tasks_that_hang_hold_up_no_end(client: AsyncPiClient) -> None:
    """Closing takes as long as was said, and blocks no loop; what waits behind them is counted all the same."""
    release = threading.Event()
    for is_async in (True, False):
        scorer = BackgroundScorer(RUBRIC, client=client)
        for _ in range(3):
            scorer.defer(release.wait, 30)
        scorer.defer(submits, scorer, "Good day.")
        started = time.monotonic()
        await scorer.aclose(0.1) if is_async else scorer.close(0.1)
        assert time.monotonic() - started < 10.0
        assert not scorer.submit(llm_input="Hello?", llm_output="Too late.")
    release.set()
    assert eventually(lambda: scorer.counts() == ScorerCounts(submitted=2, dropped=2))


def test_scoring_goes_on_while_more_comes_than_is_read(client: AsyncPiClient) -> None:
    """The rest is dropped."""
    slow = Slow(0.005)
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink, names=slow, max_queue=50) as scorer:
        end = time.monotonic() + 3
        while time.monotonic() < end and len(sink.scores) < 10:
            scorer.defer(submits, scorer, "Good day.")
            time.sleep(0.001)
        assert len(sink.scores) >= 10
        slow.release.set()


def test_nobody_spins_while_a_filter_hangs(client: AsyncPiClient) -> None:
    """Neither the scorer's thread nor one that gave up waiting."""
    slow = Slow(30.0)
    with BackgroundScorer(RUBRIC, client=client, names=slow) as scorer:
        for _ in range(3):
            scorer.defer(submits, scorer, "Good night.")
        assert not scorer.catch_up(0.2)
        before = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - before < 0.5
        slow.release.set()


def test_a_loop_that_is_closed_while_it_waits_costs_nothing(client: AsyncPiClient) -> None:
    """It is no failed exchange."""
    slow = Slow(30.0)
    with BackgroundScorer(RUBRIC, client=client, names=slow) as scorer:
        scorer.defer(submits, scorer, "Good day.")
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(scorer.aflush(30))
        loop.run_until_complete(asyncio.sleep(0.1))
        waiting.cancel()
        loop.close()
        slow.release.set()
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, scored=1)


def test_without_threads_an_exchange_is_read_where_it_comes(
    client: AsyncPiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody waits for it for ever."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_more_threads)
            seen: list[int] = []
            scorer.defer(seen.append, 1)
            assert seen == [1]
            assert scorer.catch_up(5)


def no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(("timeout", "is_whole"), [(-1.0, False), (float("inf"), True), (1e12, True), (None, True)])
async def test_any_number_is_a_timeout(client: AsyncPiClient, timeout: float | None, is_whole: bool) -> None:
    """Below 0 is now, as for a deadline that has passed; and closing closes."""
    for wait in (1, 2):
        scorer = BackgroundScorer(RUBRIC, client=client)
        scorer.defer(time.sleep, 0.3)
        scorer.defer(submits, scorer, "Good day.")
        assert (await scorer.aflush(timeout) if wait == 1 else scorer.flush(timeout)) == is_whole
        scorer.defer(submits, scorer, "Good night.")
        await scorer.aclose(timeout) if wait == 1 else scorer.close(timeout)
        assert eventually(lambda scorer=scorer: scorer.counts().submitted == 2)
        assert not scorer.submit(llm_input="Hello?", llm_output="Too late.")
        assert scorer.counts().scored == (2 if is_whole else 0)


@pytest.mark.parametrize("timeout", ["5", float("nan")])
async def test_what_is_no_number_of_seconds_is_refused(client: AsyncPiClient, timeout: Any) -> None:
    """By name."""
    async with BackgroundScorer(RUBRIC, client=client) as scorer:
        with pytest.raises(PiUsageError, match="timeout is"):
            scorer.flush(timeout)
        with pytest.raises(PiUsageError, match="timeout is"):
            await scorer.aflush(timeout)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_nothing_of_the_parents(client: AsyncPiClient) -> None:
    """What waits is the parent's to read; what the child defers it reads itself."""
    with BackgroundScorer(RUBRIC, client=client, sink=lambda score: None) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day.")
        assert scorer.flush(10)
        scorer.defer(submits, scorer, "The parent's.")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                empty = scorer.counts() == ScorerCounts()
                seen: list[int] = []
                scorer.defer(seen.append, 1)
                code = 0 if empty and eventually(lambda: seen) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=2, scored=2)


def test_what_waits_unread_at_the_end_of_the_process_is_scored() -> None:
    """Within the scorer's exit timeout, as what waits to be scored."""
    code = textwrap.dedent(
        """
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer

        client = embedded(judge="baseline").client()
        scorer = BackgroundScorer(
            [{"question": "Is it polite?"}], client=client, sink=lambda score: print(score.llm_output)
        )
        scorer.defer(lambda: scorer.submit(llm_input="Hello?", llm_output="Good day."))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "Good day.\n"


def test_a_server_that_hangs_does_not_hold_up_reading() -> None:
    """With every slot taken, what comes is still read, and counted as pending."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=60.0)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=2)
        for _ in range(2):
            submits(scorer, "Good day.")
        time.sleep(0.2)
        seen: list[int] = []
        scorer.defer(seen.append, 1)
        assert eventually(lambda: seen)
        scorer.close(0.0)
