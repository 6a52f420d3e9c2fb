"""BackgroundScorer: on the real engine, with a scripted judge."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pi_integrations import AsyncPiClient, PiUsageError, RetryPolicy, embedded
from pi_integrations.background import BackgroundScore, BackgroundScorer, MemorySink, ScorerCounts
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict

RUBRIC = [{"question": "Is the answer polite?"}]


def assert_adds_up(counts: ScorerCounts) -> None:
    assert counts.submitted == counts.scored + counts.failed + counts.dropped + counts.pending


class CountingJudge(ScriptedJudge):
    """Answers .5 after `delay` seconds, and remembers how many exchanges it had at a time."""

    def __init__(self, delay: float) -> None:
        super().__init__(default=0.5, delay=delay)
        self.now = self.most = 0

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().answer(exchange, questions)
        finally:
            self.now -= 1


def test_every_exchange_is_scored_and_reaches_the_sink(client: AsyncPiClient) -> None:
    """Each submitted exchange arrives once, with its scores and its metadata."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for number in range(20):
            assert scorer.submit(llm_input="Hello?", llm_output=f"Good day {number}", metadata={"run": number})
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=20, scored=20)
    assert sorted(score.metadata["run"] for score in sink.scores) == list(range(20))
    assert {score.result.total_score for score in sink.scores} == {0.9}


def test_the_parts_of_an_exchange_enter_by_the_one_template(client: AsyncPiClient) -> None:
    """Contexts, history, system prompt and reference are written as every adapter writes them."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        scorer.submit(
            llm_input="How long?",
            llm_output="A week.",
            system_prompt="Be kind.",
            history=[("user", "Hi")],
            contexts=["Repairs take a week."],
            reference="One week.",
        )
        scorer.flush(10)
    assert sink.scores[0].llm_input == (
        "### System prompt\nBe kind.\n\n### Conversation so far\nuser: Hi\n\n### Context\n[1] Repairs take a week.\n\n"
        "### Input\nHow long?\n\n### Reference answer\nOne week."
    )


def test_submit_does_not_wait_for_a_slow_judge() -> None:
    """A thousand exchanges are taken in a small part of the time that one score takes."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=5.0)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client)
        started = time.perf_counter()
        for number in range(1000):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert time.perf_counter() - started < 4.0
        assert scorer.counts().pending == 1000
        scorer.close()


def test_a_full_queue_drops_counts_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is refused at once; the log says so a single time."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=0.2)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client, max_queue=3)
        taken = [scorer.submit(llm_input="Hello?", llm_output=str(number)) for number in range(10)]
        assert taken == [True] * 3 + [False] * 7
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=10, scored=3, dropped=7)
        scorer.close()
    assert sum("is full (3 exchanges)" in record.message for record in caplog.records) == 1


def test_failures_are_counted_and_logged_once_per_kind(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """A question the judge cannot answer fails each exchange; the log has one line with the reason."""
    with BackgroundScorer([{"question": "Unknown?"}], client=client) as scorer:
        for number in range(5):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=5, failed=5)
    assert len(caplog.records) == 1
    assert "Unknown?" in caplog.records[0].message


def test_a_server_that_is_down_is_a_failure_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    """The application notices nothing; the counts and the log do."""
    client = AsyncPiClient(base_url="http://127.0.0.1:9", retry=RetryPolicy(attempts=1))
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, failed=1)
    assert "PiConnectionError" in caplog.text


def test_text_that_is_no_string_fails_without_raising(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an application hands over, submit does not raise."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        scorer.submit(llm_input="Hello?", llm_output=None)  # type: ignore[arg-type]
        scorer.submit(llm_input="Hello?", llm_output="Good day", contexts=7)  # type: ignore[arg-type]
        scorer.submit(llm_input="Hello?", llm_output="Good day", contexts="One passage.")
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=3, failed=3)
    assert "llm_output is a NoneType" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        {"contexts": [None]},
        {"history": [("user", None)]},
        {"history": ["Hello?"]},
        {"system_prompt": 7},
        {"reference": ["A week."]},
        {"name": ["support"]},
        {"tags": ["beta", 1]},
        {"tags": "beta"},
        {"tags": 7},
    ],
    ids=repr,
)
def test_what_is_something_else_than_it_should_be_fails_by_name(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture, other: dict[str, Any]
) -> None:
    """Rather than being scored as the text that Python writes for it."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day", **other)
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, failed=1)
    assert next(iter(other)) in caplog.text


def test_tags_may_come_one_by_one(client: AsyncPiClient) -> None:
    """A generator is read once, for the filter and for the sink."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink, tags=["beta"]) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day", tags=(tag for tag in ["beta", "paid"]))  # type: ignore[arg-type]
        assert scorer.flush(10)
    assert sink.scores[0].tags == ("beta", "paid")


def test_a_sink_that_raises_is_counted_and_the_rest_goes_on(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad write costs one score."""
    seen: list[str] = []

    def sink(score: BackgroundScore) -> None:
        if score.llm_output == "2":
            raise OSError("disk full")
        seen.append(score.llm_output)

    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for number in range(5):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=5, scored=4, failed=1)
    assert sorted(seen) == ["0", "1", "3", "4"]
    assert "disk full" in caplog.text


def test_a_sink_that_blocks_does_not_block_the_client(client: AsyncPiClient) -> None:
    """The sink has a thread of its own; other scores go on meanwhile."""
    release = threading.Event()
    scorer = BackgroundScorer(RUBRIC, client=client, sink=lambda score: release.wait(10))
    scorer.submit(llm_input="Hello?", llm_output="Good day")
    with BackgroundScorer(RUBRIC, client=client) as other:
        other.submit(llm_input="Hello?", llm_output="Good day")
        assert other.flush(5)
    assert scorer.counts().pending == 1
    release.set()
    assert scorer.flush(10)
    scorer.close()


def test_a_sink_that_waits_for_its_own_scorer_is_told(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """flush inside a sink would wait for ever; it raises instead."""
    with BackgroundScorer(RUBRIC, client=client, sink=lambda score: scorer.flush()) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        assert scorer.flush(5)
        assert scorer.counts().failed == 1
    assert "flush was called by a sink" in caplog.text


def test_a_sink_that_awaits_its_own_scorer_is_told(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """aflush inside a sink would wait for ever; it raises instead."""
    with BackgroundScorer(RUBRIC, client=client, sink=lambda score: asyncio.run(scorer.aflush())) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        assert scorer.flush(5)
        assert scorer.counts().failed == 1
    assert "aflush was called by a sink" in caplog.text


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.5, 350, 650), (1.0, 1000, 1000)])
def test_sampling_takes_its_share(client: AsyncPiClient, rate: float, least: int, most: int) -> None:
    """Exchanges left out by sampling are counted beside the submitted ones (bounds: nine standard deviations)."""
    with BackgroundScorer(RUBRIC, client=client, sample_rate=rate) as scorer:
        for _ in range(1000):
            scorer.submit(llm_input="Hello?", llm_output="Good day")
        counts = scorer.counts()
        scorer.close()
    assert least <= counts.submitted <= most
    assert counts.submitted + counts.sampled_out == 1000


def test_counts_add_up_from_many_threads_and_short_lived_loops(client: AsyncPiClient) -> None:
    """8 threads, each with loops that live for a moment; the counts add up at every moment."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:

        async def submit(name: str) -> None:
            scorer.submit(llm_input="Hello?", llm_output=name)

        def work(thread: int) -> None:
            for number in range(25):
                asyncio.run(submit(f"{thread} {number}"))
                assert_adds_up(scorer.counts())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert scorer.flush(20)
        assert scorer.counts() == ScorerCounts(submitted=200, scored=200)


def test_work_is_taken_up_without_a_flush(client: AsyncPiClient) -> None:
    """At once, and after a time without any."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        for quiet in (0.0, 0.1, 1.3):
            time.sleep(quiet)
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            deadline = time.monotonic() + 5
            while scorer.counts().pending and time.monotonic() < deadline:
                time.sleep(0.005)
        assert scorer.counts() == ScorerCounts(submitted=3, scored=3)


def test_concurrency_is_bounded() -> None:
    """The judge never has more than max_concurrency exchanges at a time, and gets that many."""
    judge = CountingJudge(delay=0.02)
    with embedded(judge=judge) as client, BackgroundScorer(RUBRIC, client=client, max_concurrency=3) as scorer:
        for number in range(12):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
    assert judge.most == 3


def test_flush_says_whether_everything_was_done() -> None:
    """Too short a wait gives False; the work goes on, and a longer one gives True."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=0.3)) as client:
        with BackgroundScorer(RUBRIC, client=client) as scorer:
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            assert not scorer.flush(0.01)
            assert scorer.flush(10)


def test_flush_waits_for_what_came_before_it_alone() -> None:
    """Traffic that goes on does not keep a flush waiting."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=0.02)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=1)
        stop = threading.Event()

        def traffic() -> None:
            while not stop.is_set():
                scorer.submit(llm_input="Hello?", llm_output="Good day")
                time.sleep(0.001)

        scorer.submit(llm_input="Hello?", llm_output="first")
        thread = threading.Thread(target=traffic, daemon=True)
        thread.start()
        try:
            assert scorer.flush(10)
            assert scorer.counts().pending > 0
        finally:
            stop.set()
            thread.join()
            scorer.close()


async def test_aflush_leaves_the_event_loop_running() -> None:
    """Other tasks of the loop go on while it waits."""
    async with embedded(judge=ScriptedJudge(default=0.5, delay=0.2)) as client:
        async with BackgroundScorer(RUBRIC, client=client) as scorer:
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            assert not await scorer.aflush(0.01)
            waiting = asyncio.create_task(scorer.aflush(10))
            ticks = 0
            while not waiting.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert waiting.result()
            assert ticks >= 5


def test_close_drops_what_is_left_and_whatever_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost silently: it is counted as dropped, and logged once."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=5.0)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client)
        for number in range(4):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        scorer.close()
        assert not scorer.submit(llm_input="Hello?", llm_output="late")
        assert not scorer.submit(llm_input="Hello?", llm_output="later")
        assert scorer.counts() == ScorerCounts(submitted=6, dropped=6)
    messages = [record.message for record in caplog.records]
    assert sum("4 exchanges" in message for message in messages) == 1
    assert sum("was closed" in message for message in messages) == 1


def test_scoring_does_not_run_in_the_application_s_context() -> None:
    """A trace or a request id of the run that submitted is not visible to the judge."""
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    def answer(exchange: Exchange, question: str) -> float:
        seen.append(request.get())
        return 0.5

    with embedded(judge=ScriptedJudge(answer)) as client, BackgroundScorer(RUBRIC, client=client) as scorer:
        request.set("the user's")
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        assert scorer.flush(10)
    assert seen == ["none"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_whoever_copies_what_holds_a_scorer_has_the_same_one(
    client: AsyncPiClient, copied: Callable[[Any], Any]
) -> None:
    """As frameworks copy their components; its queue, its thread and its counts are one."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        assert copied(scorer) is scorer
        assert copied({"scorer": [scorer]})["scorer"][0] is scorer


def test_memory_sink_keeps_the_last_ones(client: AsyncPiClient) -> None:
    """Old scores go when it is full."""
    sink = MemorySink(max_scores=3)
    with BackgroundScorer(RUBRIC, client=client, sink=sink, max_concurrency=1) as scorer:
        for number in range(5):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        scorer.flush(10)
    assert [score.llm_output for score in sink.scores] == ["2", "3", "4"]


async def _asynchronous_sink(score: BackgroundScore) -> None: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scoring_spec": []}, "scoring_spec"),
        ({"scoring_spec": RUBRIC, "aggregation_method": "MEDIAN"}, "aggregation_method"),
        ({"scoring_spec": RUBRIC, "sample_rate": 1.5}, "sample_rate is 1.5"),
        ({"scoring_spec": RUBRIC, "sample_rate": "0.5"}, "sample_rate is '0.5'"),
        ({"scoring_spec": RUBRIC, "max_queue": None}, "max_queue is None"),
        ({"scoring_spec": RUBRIC, "exit_timeout": "5"}, "exit_timeout is '5'"),
        ({"scoring_spec": RUBRIC, "max_queue": 0}, "max_queue is 0"),
        ({"scoring_spec": RUBRIC, "max_concurrency": 0}, "max_concurrency 0"),
        ({"scoring_spec": RUBRIC, "exit_timeout": -1}, "exit_timeout is -1"),
        ({"scoring_spec": RUBRIC, "unscored": "never"}, "unscored is 'never'"),
        ({"scoring_spec": RUBRIC, "client": 7}, "client is a int"),
        ({"scoring_spec": RUBRIC, "client": None}, "no Pi endpoint is configured"),
        ({"scoring_spec": RUBRIC, "sink": 7}, "sink is a int"),
        ({"scoring_spec": RUBRIC, "sink": _asynchronous_sink}, "coroutine function"),
    ],
)
def test_wrong_settings_are_refused_where_they_are_given(
    client: AsyncPiClient, given: dict[str, Any], message: str
) -> None:
    """The message names the setting."""
    with pytest.raises(PiUsageError, match=message):
        BackgroundScorer(**{"client": client, **given})


def test_warnings_name_their_logger(caplog: pytest.LogCaptureFixture, client: AsyncPiClient) -> None:
    """An application can silence or route them by one name."""
    scorer = BackgroundScorer(RUBRIC, client=client)
    scorer.close()
    scorer.submit(llm_input="Hello?", llm_output="Good day")
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("pi_integrations.background", logging.WARNING)
    ]


PREAMBLE = """
import logging, os, sys, threading, time
logging.basicConfig(format="%(message)s")
from pi_integrations import embedded
from pi_integrations.background import BackgroundScorer
from pi_integrations.testing import ScriptedJudge

def shown(score):
    os.write(1, f"scored {score.llm_output}{os.linesep}".encode())

def scorer(delay, sink=shown, **given):
    client = embedded(judge=ScriptedJudge(default=0.5, delay=delay)).client()
    return BackgroundScorer([{"question": "Is the answer polite?"}], client=client, sink=sink, **given)
"""


def run_script(body: str) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter prints; it must end by itself within 20 seconds."""
    script = PREAMBLE + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)


def test_exit_waits_for_queued_work() -> None:
    """A script that ends right after submitting still has its scores."""
    done = run_script(
        """
        live = scorer(delay=0.2)
        for number in range(5):
            live.submit(llm_input="Hello?", llm_output=str(number))
        """
    )
    assert sorted(done.stdout.split()) == ["0", "1", "2", "3", "4", *["scored"] * 5]
    assert done.stderr == ""


def test_exit_comes_before_the_end_of_thread_pools() -> None:
    """Judges and name resolution use thread pools, which refuse work at the very end; queued work still has them."""
    done = run_script(
        """
        import asyncio

        class Pooled(ScriptedJudge):
            async def answer(self, exchange, questions):
                await asyncio.to_thread(time.sleep, 0.05)
                return await super().answer(exchange, questions)

        client = embedded(judge=Pooled(default=0.5)).client()
        live = BackgroundScorer(
            [{"question": "Is it polite?"}], client=client, sink=shown, max_concurrency=1
        )
        for number in range(3):
            live.submit(llm_input="Hello?", llm_output=str(number))
        """
    )
    assert done.stdout.split() == ["scored", "0", "scored", "1", "scored", "2"]


def test_exit_does_not_wait_for_ever() -> None:
    """A judge that is too slow, and a sink that hangs, cost exit_timeout; what is left is logged once."""
    started = time.monotonic()
    done = run_script(
        """
        slow = scorer(delay=60, exit_timeout=0.3)
        stuck = scorer(delay=0, sink=lambda score: time.sleep(60), exit_timeout=0.3)
        for number in range(5):
            slow.submit(llm_input="Hello?", llm_output=str(number))
            stuck.submit(llm_input="Hello?", llm_output=str(number))
        """
    )
    assert time.monotonic() - started < 15
    assert done.stdout == ""
    assert done.stderr.count("stopped before 5 exchanges had scores") == 2


def test_several_scorers_that_hang_hold_up_the_exit_together() -> None:
    """Their times run at once: as long as one of them, not as all in turn."""
    done = run_script(
        """
        for _ in range(10):
            live = scorer(delay=60, exit_timeout=1)
            live.submit(llm_input="Hello?", llm_output="never")
        print(time.time())
        """
    )
    assert 0.9 < time.time() - float(done.stdout) < 6
    assert done.stderr.count("stopped before 1 exchanges had scores") == 10


def test_threads_that_outlive_the_main_one_are_scored() -> None:
    """The queue stays open while the application's own threads still run."""
    done = run_script(
        """
        live = scorer(delay=0)
        live.submit(llm_input="Hello?", llm_output="main")

        def later():
            time.sleep(0.5)
            live.submit(llm_input="Hello?", llm_output="thread")

        threading.Thread(target=later).start()
        """
    )
    assert "scored main" in done.stdout
    assert "scored thread" in done.stdout


def test_a_forked_child_scores_its_own_work_and_not_its_parent_s() -> None:
    """The child starts at 0 with an empty queue; the parent's work is scored once, by the parent."""
    done = run_script(
        """
        live = scorer(delay=0.2)
        live.submit(llm_input="Hello?", llm_output="parent")
        child = os.fork()
        if child == 0:
            assert live.counts().submitted == 0
            live.submit(llm_input="Hello?", llm_output="child")
            assert live.flush(10), live
            assert live.counts().scored == 1
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert live.flush(10)
        assert live.counts().scored == 1
        """
    )
    assert done.stdout.count("scored parent") == 1
    assert done.stdout.count("scored child") == 1


def test_importing_it_loads_no_framework() -> None:
    """It belongs to every adapter, and to none."""
    code = (
        "import sys, pi_integrations.background; print({'langchain_core', 'llama_index', 'fastapi'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
