"""Where background scores go: several sinks, a JSONL file, and a sink with a thread of its own."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pi_integrations import AsyncPiClient, PiError, PiUsageError, ScoreResult
from pi_integrations.background import (
    BackgroundScore,
    BackgroundScorer,
    JsonlSink,
    MemorySink,
    QueuedSink,
    ScorerCounts,
    SinkCounts,
)

RUBRIC = [{"question": "Is the answer polite?"}]


def a_score(output: str = "Good day", **given: Any) -> BackgroundScore:
    result = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)
    return BackgroundScore("Hello?", output, result, **given)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def broken(score: BackgroundScore) -> None:
    raise OSError("no space left")


def test_every_sink_gets_every_score(client: AsyncPiClient) -> None:
    """Objects and functions alike."""
    memory, seen = MemorySink(), list[str]()
    sinks = [memory, lambda score: seen.append(score.llm_output)]
    with BackgroundScorer(RUBRIC, client=client, sink=sinks) as scorer:
        for number in range(3):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=3, scored=3)
    assert sorted(seen) == sorted(score.llm_output for score in memory.scores) == ["0", "1", "2"]


def test_a_failing_sink_costs_the_others_nothing(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """The scores count as failed, the log names the sink once, and the sinks before and after it have them all."""
    first, last = MemorySink(), MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=[first, broken, last]) as scorer:
        for number in range(4):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=4, failed=4)
    assert len(first.scores) == len(last.scores) == 4
    assert [("CallableSink" in record.message, "no space left" in record.message) for record in caplog.records] == [
        (True, True)
    ]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("queued", [False, True])
def test_a_sink_that_leaves_costs_one_score_and_not_the_thread(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture, error: type[BaseException], queued: bool
) -> None:
    """`sys.exit` in a sink is a failure like any other: counted, logged, and the next score is written."""
    seen: list[str] = []

    def leaving(score: BackgroundScore) -> None:
        if score.llm_output == "1":
            raise error("enough")
        seen.append(score.llm_output)

    sink = QueuedSink(leaving) if queued else leaving
    with BackgroundScorer(RUBRIC, client=client, sink=sink, max_concurrency=1) as scorer:
        for number in range(4):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        assert scorer.flush(10)
        failed = sink.counts().failed if isinstance(sink, QueuedSink) else scorer.counts().failed
    assert (seen, failed) == (["0", "2", "3"], 1)
    assert f"{error.__name__}: enough" in caplog.text


def test_each_failing_sink_is_logged(client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
    """Two sinks with the same trouble are two lines."""
    with BackgroundScorer(RUBRIC, client=client, sink=[broken, broken]) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        scorer.flush(10)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("sink", [[], [7]])
def test_sinks_that_are_none_are_refused(client: AsyncPiClient, sink: Any) -> None:
    """An empty list would lose every score."""
    with pytest.raises(PiUsageError, match="sink is"):
        BackgroundScorer(RUBRIC, client=client, sink=sink)


def test_a_jsonl_line_holds_the_exchange_and_its_scores(client: AsyncPiClient, tmp_path: Path) -> None:
    """Whatever the texts hold, one line each; the time is when it was written."""
    path = tmp_path / "scores.jsonl"
    with BackgroundScorer(RUBRIC, client=client, sink=JsonlSink(path)) as scorer:
        scorer.submit(
            llm_input="Where is\nmy order?",
            llm_output="Grüße 👋",
            name="support",
            tags=["beta"],
            metadata={"run_id": "7"},
        )
        assert scorer.flush(10)
        assert len(lines_of(path)) == 1  # before the scorer is closed
    line = lines_of(path)[0]
    assert line["llm_input"] == "Where is\nmy order?"
    assert line["llm_output"] == "Grüße 👋"
    assert (line["name"], line["tags"], line["metadata"]) == ("support", ["beta"], {"run_id": "7"})
    assert line["result"]["total_score"] == 0.9
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 60


def test_metadata_that_json_does_not_know_is_written_as_text(tmp_path: Path) -> None:
    """NaN is no JSON, objects of an application are not either."""
    path = tmp_path / "scores.jsonl"
    JsonlSink(path).write(a_score(metadata={"nan": float("nan"), "object": Path("a/b"), "kind": dict}))
    assert lines_of(path)[0]["metadata"] == {"nan": None, "object": "a/b", "kind": "<class 'dict'>"}


def test_a_file_is_continued_on_a_line_of_its_own(tmp_path: Path) -> None:
    """Also after a process was killed half way through a line, and after the file was moved away."""
    path = tmp_path / "scores.jsonl"
    sink = JsonlSink(path)
    sink.write(a_score("1"))
    with path.open("a") as file:
        file.write('{"llm_output": "cut o')
    JsonlSink(path).write(a_score("2"))
    first, cut, second = path.read_text().splitlines()
    assert (json.loads(first)["llm_output"], json.loads(second)["llm_output"]) == ("1", "2")
    assert cut == '{"llm_output": "cut o'
    path.rename(tmp_path / "old.jsonl")
    sink.write(a_score("3"))
    assert [line["llm_output"] for line in lines_of(path)] == ["3"]


def test_processes_and_threads_append_whole_lines_to_one_file(tmp_path: Path) -> None:
    """Lines far longer than a pipe's or a page's size stay whole."""
    path = tmp_path / "scores.jsonl"
    writer = """
    import sys
    from pi_integrations import ScoreResult
    from pi_integrations.background import BackgroundScore, JsonlSink
    result = ScoreResult(question_scores={}, total_score=1.0)
    sink = JsonlSink(sys.argv[1])
    for number in range(100):
        sink.write(BackgroundScore("Hello?", sys.argv[2] * 50_000, result))
    """
    code = textwrap.dedent(writer)
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    sink = JsonlSink(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: sink.write(a_score(str(number))), range(100)))
    assert [process.wait(30) for process in processes] == [0, 0]
    outputs = [line["llm_output"] for line in lines_of(path)]
    assert outputs.count("a" * 50_000) == outputs.count("b" * 50_000) == 100
    assert sorted(int(text) for text in outputs if len(text) < 4) == list(range(100))


def test_a_line_waits_for_whoever_has_the_file_locked(tmp_path: Path) -> None:
    """Taking back a part of a line is safe only while nobody else appends."""
    path = tmp_path / "scores.jsonl"
    with path.open("w") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        writing = pool.submit(JsonlSink(path).write, a_score())
        time.sleep(0.1)
        assert not writing.done()
        fcntl.flock(file, fcntl.LOCK_UN)
        writing.result(10)
    assert len(lines_of(path)) == 1


def test_a_full_disk_fails_scores_and_leaves_no_part_of_a_line() -> None:
    """Counted, logged once; the file holds whole lines, and goes on when there is room again."""
    script = """
    import json, logging, resource, sys, tempfile
    from pi_integrations import embedded
    from pi_integrations.background import BackgroundScorer, JsonlSink, MemorySink
    from pi_integrations.testing import ScriptedJudge
    logging.basicConfig(format="%(message)s")
    path = tempfile.mkdtemp() + "/scores.jsonl"
    memory = MemorySink()
    client = embedded(judge=ScriptedJudge(default=0.5)).client()
    rubric = [{"question": "Is it polite?"}]
    with BackgroundScorer(rubric, client=client, sink=[JsonlSink(path), memory], max_concurrency=1) as live:
        def submit(*sizes):
            for size in sizes:
                live.submit(llm_input="Hello?", llm_output="x" * size)
            assert live.flush(10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        submit(5_000, 7_000, 7_000, 100)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        submit(7_000)
        counts = live.counts()
    lines = [len(json.loads(line)["llm_output"]) for line in open(path)]
    print(json.dumps([lines, counts.scored, counts.failed, len(memory.scores)]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout) == [[5_000, 100, 7_000], 3, 2, 5]
    assert done.stderr.count("A sink of a background scorer failed: JsonlSink") == 1


def test_a_missing_folder_is_told_at_once(tmp_path: Path) -> None:
    """Not with the first score."""
    with pytest.raises(PiUsageError, match="there is no folder"):
        JsonlSink(tmp_path / "missing" / "scores.jsonl")


def test_a_queued_sink_does_not_wait_for_what_is_behind_it() -> None:
    """Scores are taken at once and written in their order."""
    release, seen = threading.Event(), list[str]()

    def slow(score: BackgroundScore) -> None:
        release.wait(10)
        seen.append(score.llm_output)

    with QueuedSink(slow) as sink:
        started = time.monotonic()
        for number in range(50):
            sink.write(a_score(str(number)))
        assert time.monotonic() - started < 5
        assert sink.counts() == SinkCounts(given=50, pending=50)
        assert not sink.flush(0.01)
        release.set()
        assert sink.flush(10)
        assert sink.counts() == SinkCounts(given=50, written=50)
    assert seen == [str(number) for number in range(50)]


def test_a_full_queued_sink_fails_scores_and_the_scorer_goes_on(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A place that hangs costs its own scores alone, and its queue is bounded."""
    release, memory = threading.Event(), MemorySink()
    stuck = QueuedSink(lambda score: release.wait(10), max_queue=2)
    with BackgroundScorer(RUBRIC, client=client, sink=[stuck, memory]) as scorer:
        for number in range(5):
            scorer.submit(llm_input="Hello?", llm_output=str(number))
        deadline = time.monotonic() + 10
        while scorer.counts().pending and time.monotonic() < deadline:
            time.sleep(0.005)
        assert scorer.counts() == ScorerCounts(submitted=5, scored=2, failed=3)
        assert stuck.counts() == SinkCounts(given=5, dropped=3, pending=2)
        release.set()
        assert scorer.flush(10)
    assert len(memory.scores) == 5
    assert stuck.counts() == SinkCounts(given=5, written=2, dropped=3)
    assert ["is full (2 scores)" in record.message for record in caplog.records] == [True]
    stuck.close()


def test_what_a_queued_sink_could_not_write_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on."""
    with QueuedSink(broken) as sink:
        for _ in range(3):
            sink.write(a_score())
        assert sink.flush(10)
        assert sink.counts() == SinkCounts(given=3, failed=3)
    assert len(caplog.records) == 1
    assert "no space left" in caplog.text


async def test_flushing_a_scorer_flushes_its_queued_sinks(client: AsyncPiClient) -> None:
    """Sync or async; a flush that is too short says so."""
    memory = MemorySink()
    with QueuedSink(lambda score: (time.sleep(0.2), memory.write(score))) as sink:
        async with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            assert not await scorer.aflush(0.1)
            assert await scorer.aflush(10)
            assert len(memory.scores) == 1
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            assert scorer.flush(10)
            assert len(memory.scores) == 2


class BadFlush(QueuedSink):
    """Its place may be gone when it is flushed."""

    def flush(self, timeout: float | None = None) -> bool:
        """Never."""
        raise SystemExit("flush failed") if timeout is None else LookupError("flush failed")


async def test_a_sink_that_cannot_be_flushed_is_logged_and_not_raised(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Not flushed, it says, of whatever kind the error is; the scorer closes, and the sink beside it is flushed."""
    slow = QueuedSink(lambda score: time.sleep(0.2))
    bad = BadFlush(lambda score: None)
    scorers = [BackgroundScorer(RUBRIC, client=client, sink=[bad, slow]) for _ in range(2)]
    for scorer in scorers:
        scorer.submit(llm_input="Hello?", llm_output="Good day")
        assert not scorer.flush()
        assert not scorer.flush(10)
        assert not await scorer.aflush(10)
    assert slow.counts().written == 2
    scorers[0].close(10)
    await scorers[1].aclose(10)
    assert [scorer.submit(llm_input="Hello?", llm_output="Too late") for scorer in scorers] == [False, False]
    assert [scorer.counts().scored for scorer in scorers] == [1, 1]
    for kind in ("SystemExit", "LookupError"):
        assert caplog.text.count(f"could not be flushed: BadFlush: {kind}: flush failed") == 2
    with pytest.raises(LookupError):
        bad.close()
    assert bad.counts().written == 2


async def test_closing_that_is_cut_short_closes(client: AsyncPiClient) -> None:
    """Nothing is left running that nobody will close."""
    scorer = BackgroundScorer(RUBRIC, client=client, sink=QueuedSink(lambda score: time.sleep(1.0)))
    scorer.submit(llm_input="Hello?", llm_output="Good day")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scorer.aclose(timeout=None), 0.3)
    assert not scorer.submit(llm_input="Hello?", llm_output="Too late")


def test_a_closed_queued_sink_drops_what_is_left_and_refuses_more(caplog: pytest.LogCaptureFixture) -> None:
    """Counted, and logged once."""
    release = threading.Event()
    sink = QueuedSink(lambda score: release.wait(10))
    sink.write(a_score())
    sink.write(a_score())
    sink.close()
    with pytest.raises(PiError, match="is closed"):
        sink.write(a_score())
    assert sink.counts() == SinkCounts(given=3, dropped=3)
    assert "before it had written 2 scores" in caplog.text
    release.set()


def test_a_queued_sink_that_waits_for_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """flush inside it would wait for ever; it raises instead."""
    sink: QueuedSink = QueuedSink(lambda score: sink.flush())
    sink.write(a_score())
    assert sink.flush(10)
    assert sink.counts().failed == 1
    assert "flush was called by the sink itself" in caplog.text
    sink.close()


SCRIPT = """
import logging, os, sys, time
logging.basicConfig(format="%(message)s")
from pi_integrations import embedded
from pi_integrations.background import BackgroundScorer, QueuedSink
from pi_integrations.testing import ScriptedJudge

def slow(score):
    time.sleep(0.2)
    print("written", score.llm_output, flush=True)

sink = QueuedSink(slow)
client = embedded(judge=ScriptedJudge(default=0.5, delay=0.1)).client()
live = BackgroundScorer([{"question": "Is it polite?"}], client=client, sink=sink)
"""


def run_script(body: str) -> str:
    script = SCRIPT + textwrap.dedent(body)
    # Python 3.12 and later warn of every fork with threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""
    return done.stdout


def test_exit_waits_for_the_scorer_and_then_for_its_queued_sink() -> None:
    """A script that ends right after submitting has its scores delivered."""
    assert run_script('live.submit(llm_input="Hello?", llm_output="last")') == "written last\n"


def test_waiting_for_a_sink_that_hangs_can_be_given_up() -> None:
    """Neither the event loop's end nor the process's waits for it, and no more than one thread does."""
    started = time.monotonic()
    printed = run_script(
        """
        import asyncio
        import threading

        logging.disable()
        stuck = QueuedSink(lambda score: time.sleep(60), exit_timeout=0.2)
        live = BackgroundScorer([{"question": "Is it polite?"}], client=client, sink=stuck, exit_timeout=0.2)

        async def go():
            live.submit(llm_input="Hello?", llm_output="never")
            for _ in range(5):
                try:
                    await asyncio.wait_for(live.aflush(), 0.3)
                except TimeoutError:
                    print(sum(thread.name == "pi-flush" for thread in threading.enumerate()))

        asyncio.run(go())
        """
    )
    assert printed.split() == ["1"] * 5
    assert time.monotonic() - started < 15


def test_a_sink_that_cannot_be_flushed_at_exit_costs_the_others_nothing() -> None:
    """Whichever was made last; the log says which it was."""
    printed = run_script(
        """
        class BadFlush(QueuedSink):
            def flush(self, timeout=None):
                raise LookupError("flush failed")

        logging.getLogger("pi_integrations").addHandler(logging.StreamHandler(sys.stdout))
        logging.getLogger("pi_integrations").propagate = False
        bad = BadFlush(print)
        for number in range(3):
            live.submit(llm_input="Hello?", llm_output=str(number))
        """
    )
    assert [line for line in printed.splitlines() if line.startswith("written")] == [f"written {n}" for n in range(3)]
    assert printed.count("BadFlush could not be emptied at the end of the process: LookupError: flush failed") == 1


def test_scores_of_threads_that_outlive_the_main_one_are_delivered() -> None:
    """A queued sink is closed after the scorer that writes to it."""
    printed = run_script(
        """
        import threading

        def later():
            time.sleep(0.5)
            live.submit(llm_input="Hello?", llm_output="thread")

        threading.Thread(target=later).start()
        """
    )
    assert printed == "written thread\n"


def test_a_forked_child_delivers_its_own_scores_and_not_its_parent_s() -> None:
    """The child's queue starts empty, with a thread of its own."""
    printed = run_script(
        """
        live.submit(llm_input="Hello?", llm_output="parent")
        assert live.flush(10)
        child = os.fork()
        if child == 0:
            assert sink.counts().given == 0
            live.submit(llm_input="Hello?", llm_output="child")
            assert live.flush(10)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert printed == "written parent\nwritten child\n"


def test_a_fork_in_the_middle_of_a_line_locks_nobody_out(tmp_path: Path) -> None:
    """The child has a copy of the parent's locked file; neither it nor, while it idles, the parent waits for that."""
    path = tmp_path / "scores.jsonl"
    body = f"""
        import threading
        from pi_integrations import ScoreResult
        from pi_integrations.background import BackgroundScore, JsonlSink

        file = JsonlSink({str(path)!r})
        score = BackgroundScore("Hello?", "x" * 100_000, ScoreResult(question_scores={{}}, total_score=0.9))
        stop = threading.Event()

        def write():
            while not stop.is_set():
                file.write(score)

        writer = threading.Thread(target=write)
        writer.start()
        children = []
        for _ in range(10):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                file.write(score)
                time.sleep(60)
            children.append(child)
        time.sleep(0.5)
        size = os.path.getsize(file.path)
        time.sleep(0.1)
        assert os.path.getsize(file.path) > size
        stop.set()
        writer.join()
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
        """
    run_script(body)
    assert {line["llm_output"] for line in lines_of(path)} == {"x" * 100_000}


def test_a_file_nobody_may_write_fails_and_says_where(tmp_path: Path, client: AsyncPiClient) -> None:
    """A folder in the file's place."""
    path = tmp_path / "scores.jsonl"
    sink = JsonlSink(path)
    path.mkdir()
    with pytest.raises(OSError, match=r"scores\.jsonl"):
        sink.write(a_score())
