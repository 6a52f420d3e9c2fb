"""BackgroundScorer when whoever makes the scores is down, slow, busy or frozen: the application does not notice."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_server import OK, fault_server, http

from pi_integrations import AsyncPiClient, RetryPolicy, embedded
from pi_integrations.background import BackgroundScorer, ScorerCounts
from pi_integrations.testing import Exchange, ScriptedJudge

RUBRIC = [{"question": "Is the answer polite?"}]
BUSY = http(429, {"detail": "too many requests"}, retry_after="60")
SHORT = http(429, {"detail": "too many requests"}, retry_after_ms="50", connection="close")


class Marked:
    """Something of the application's, to see how long it is kept."""


def submit_many(scorer: BackgroundScorer, count: int) -> float:
    """The longest `submit` of `count`, in seconds."""
    longest = 0.0
    for number in range(count):
        started = time.perf_counter()
        scorer.submit(llm_input="Hello?", llm_output=str(number))
        longest = max(longest, time.perf_counter() - started)
    return longest


def assert_adds_up(counts: ScorerCounts) -> None:
    assert counts.submitted == counts.scored + counts.failed + counts.dropped + counts.pending


@pytest.mark.parametrize("answer", [None, BUSY, b"", http(500, {"detail": "no"})], ids=["frozen", "429", "cut", "500"])
def test_a_sick_server_costs_the_application_nothing(answer: bytes | None) -> None:
    """Submitting stays fast, the queue keeps to its size, counts add up throughout, and closing does not wait."""
    with fault_server(answer) as server:
        client = AsyncPiClient(base_url=server.url, retry=RetryPolicy(initial=30.0, maximum=30.0))
        scorer = BackgroundScorer(RUBRIC, client=client, max_queue=100, max_concurrency=4)
        longest = submit_many(scorer, 1000)
        time.sleep(0.3)
        counts = scorer.counts()
        assert_adds_up(counts)
        assert (counts.submitted, counts.scored, counts.pending, counts.dropped) == (1000, 0, 100, 900)
        assert longest < 1  # a busy machine; a request would be 60 s
        assert server.most_concurrent <= 4
        started = time.monotonic()
        scorer.close()
        assert time.monotonic() - started < 5
        assert scorer.counts() == ScorerCounts(submitted=1000, dropped=1000)


def test_a_server_that_was_busy_has_every_score_in_the_end() -> None:
    """429 with a time to wait: tried again after it, and nothing is lost."""
    with fault_server(*[SHORT] * 6, OK) as server:
        client = AsyncPiClient(base_url=server.url, retry=RetryPolicy(attempts=10))
        with BackgroundScorer(RUBRIC, client=client, max_concurrency=3) as scorer:
            submit_many(scorer, 12)
            assert scorer.flush(20)
            assert scorer.counts() == ScorerCounts(submitted=12, scored=12)
        assert len(server.requests) == 18


def test_a_busy_server_is_asked_no_more_than_it_allows() -> None:
    """A minute's wait is kept: one request per slot, not one per exchange."""
    with fault_server(BUSY) as server:
        client = AsyncPiClient(base_url=server.url)
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=2)
        submit_many(scorer, 50)
        time.sleep(0.5)
        assert len(server.requests) == 2
        scorer.close()


def test_a_server_that_comes_back_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """What came while it was away is counted as failed, logged once; what comes later is scored."""
    with fault_server(http(503, {"detail": "away"})) as server:
        client = AsyncPiClient(base_url=server.url, retry=RetryPolicy(attempts=1))
        with BackgroundScorer(RUBRIC, client=client) as scorer:
            submit_many(scorer, 5)
            assert scorer.flush(10)
            server.answers = [OK]
            submit_many(scorer, 5)
            assert scorer.flush(10)
            assert scorer.counts() == ScorerCounts(submitted=10, scored=5, failed=5)
    logged = [record.message for record in caplog.records if record.name.startswith("pi_integrations")]
    assert ["answered 503" in message for message in logged] == [True]


def test_a_frozen_server_does_not_keep_exchanges_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Each fails after the client's timeout, and nothing of it is kept."""
    caplog.set_level(logging.CRITICAL, "pi_integrations.background")  # a logged traceback keeps what it shows
    with fault_server(None) as server:
        client = AsyncPiClient(base_url=server.url, timeout=0.1, retry=RetryPolicy(attempts=1))
        with BackgroundScorer(RUBRIC, client=client, max_queue=20, max_concurrency=20) as scorer:
            alive: weakref.WeakSet[Marked] = weakref.WeakSet()
            for number in range(500):
                marked = Marked()
                alive.add(marked)
                scorer.submit(llm_input="Hello?", llm_output=str(number), metadata={"marked": marked})
            del marked
            assert len(alive) <= 20
            assert scorer.flush(10)
            gc.collect()
            assert len(alive) == 0
            assert scorer.counts() == ScorerCounts(submitted=500, failed=20, dropped=480)


class Leaving(BaseException):
    """Neither an Exception nor one of Python's own."""


def test_a_judge_that_leaves_fails_one_exchange(caplog: pytest.LogCaptureFixture) -> None:
    """What is no Exception ends no thread of ours: counted, logged, and scoring goes on."""

    def answer(exchange: Exchange, question: str) -> float:
        if exchange.llm_output == "1":
            raise Leaving("enough")
        return 0.5

    with embedded(judge=ScriptedJudge(answer)) as client, BackgroundScorer(RUBRIC, client=client) as scorer:
        submit_many(scorer, 4)
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=4, scored=3, failed=1)
    assert "Leaving: enough" in caplog.text


def test_an_application_s_broken_log_reaches_nobody() -> None:
    """A log handler that raises ends neither `submit` nor the thread that scores."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no log")

    handler = Broken()
    logger = logging.getLogger("pi_integrations.background")
    logger.addHandler(handler)
    try:
        client = AsyncPiClient(base_url="http://127.0.0.1:9", retry=RetryPolicy(attempts=1))
        with BackgroundScorer(RUBRIC, client=client, max_queue=2) as scorer:
            submit_many(scorer, 200)
            assert scorer.flush(10)
            submit_many(scorer, 1)
            assert scorer.flush(10)
            counts = scorer.counts()
            assert counts.submitted == 201 == counts.failed + counts.dropped
            assert counts.failed and counts.dropped  # each of them logs
    finally:
        logger.removeHandler(handler)


def test_many_threads_flush_a_frozen_scorer_at_once() -> None:
    """Each gets its answer after its own timeout, and nobody waits for another."""
    with fault_server(None) as server:
        scorer = BackgroundScorer(RUBRIC, client=AsyncPiClient(base_url=server.url))
        submit_many(scorer, 20)
        started = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(scorer.flush, [0.5] * 20)) == [False] * 20
        assert time.monotonic() - started < 5
        scorer.close()
        assert scorer.counts() == ScorerCounts(submitted=20, dropped=20)


def test_a_closed_scorer_keeps_no_exchange() -> None:
    """What waited is let go, not only dropped from the counts."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=60.0)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=1)
        marked = Marked()
        gone = threading.Event()
        weakref.finalize(marked, gone.set)
        scorer.submit(llm_input="Hello?", llm_output="first")
        scorer.submit(llm_input="Hello?", llm_output="second", metadata={"marked": marked})
        del marked
        assert not gone.is_set()
        scorer.close()
        assert gone.wait(5)


async def test_the_application_s_event_loop_goes_on_while_the_server_is_frozen() -> None:
    """Submitting from a coroutine, and waiting with aflush, hold up no other task."""
    with fault_server(None) as server:
        scorer = BackgroundScorer(RUBRIC, client=AsyncPiClient(base_url=server.url))
        for number in range(100):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        waiting = asyncio.create_task(scorer.aflush(0.3))
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert waiting.result() is False
        assert ticks >= 10
        await scorer.aclose()
        assert scorer.counts() == ScorerCounts(submitted=100, dropped=100)


def test_background_scores_leave_the_client_s_other_slots_free() -> None:
    """An application that scores with the same client goes on while background scores hang."""
    with fault_server(None, None, OK) as server:
        client = AsyncPiClient(base_url=server.url, max_concurrency=3)
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=2)
        submit_many(scorer, 10)
        deadline = time.monotonic() + 10
        while len(server.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        score = client.scoring_system.score(llm_input="Hello?", llm_output="Good day", scoring_spec=RUBRIC)
        assert asyncio.run(asyncio.wait_for(score, 5)).total_score == 0.9
        scorer.close()
