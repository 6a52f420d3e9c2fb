"""LangSmithFeedbackSink: the real LangSmith client, against a server on this machine that keeps what it is sent."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from langsmith import Client
from urllib3 import Retry

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink, ScorerCounts, SinkCounts
from pi_integrations.langchain.feedback_sink import LangSmithFeedbackSink

RUBRIC = [
    {"question": "Is the answer polite?", "label": "Polite"},
    {"question": "Is the answer clear?", "label": "Clear"},
]
INFO = {
    "version": "0.13.0",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}
PROJECT = str(uuid4())
PART = re.compile(rb'name="feedback\.[^"]*".*?\r\n\r\n(.*?)\r\n--', re.DOTALL)


class LangSmith:
    """What LangSmith was sent; `status` is what it answers to feedback, `wait` holds the answer back."""

    def __init__(self) -> None:
        self.feedback: list[dict[str, Any]] = []
        self.projects: list[str] = []
        self.paths: list[str] = []
        self.status = 200
        self.wait = threading.Event()
        self.wait.set()


def handler_of(langsmith: LangSmith) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/info"):
                self.answer(200, INFO)
            else:
                langsmith.projects.append(self.path)
                project = {"id": PROJECT, "name": "live", "tenant_id": str(uuid4()), "reference_dataset_id": None}
                self.answer(200, [{**project, "start_time": "2026-01-01T00:00:00"}])

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            langsmith.wait.wait(20)
            langsmith.paths.append(self.path)
            if langsmith.status == 200:
                entries = [body] if self.path == "/feedback" else PART.findall(body)
                langsmith.feedback += [json.loads(entry) for entry in entries]
            self.answer(langsmith.status, {})

        def answer(self, status: int, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    return Handler


@pytest.fixture
def langsmith() -> Iterator[LangSmith]:
    """A server that takes feedback."""
    langsmith = LangSmith()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(langsmith))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    langsmith.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield langsmith
    langsmith.wait.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def langsmith_client(langsmith: LangSmith) -> Iterator[Client]:
    """LangSmith's own client of it."""
    client = Client(langsmith.url, api_key="lsv2_a_secret_key")  # type: ignore[attr-defined]
    yield client
    client.close(timeout=1)


def submit(scorer: BackgroundScorer, **metadata: Any) -> None:
    scorer.submit(llm_input="Hello?", llm_output="Good day", name="support", metadata=metadata)


def by_key(langsmith: LangSmith) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in langsmith.feedback}


@pytest.mark.parametrize("traced", [True, False], ids=["in batches", "one by one"])
def test_each_question_and_the_total_are_feedback_on_the_run(
    client: AsyncPiClient, langsmith: LangSmith, langsmith_client: Client, traced: bool
) -> None:
    """By the ids in the metadata; flushing the scorer is enough to have it all sent."""
    run, trace = str(uuid4()), str(uuid4())
    with LangSmithFeedbackSink(langsmith_client) as sink, BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        submit(scorer, run_id=run, **({"trace_id": trace} if traced else {}))
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, scored=1)
        assert sink.counts() == SinkCounts(given=1, written=1)
    found = by_key(langsmith)
    assert {key: entry["score"] for key, entry in found.items()} == {"Polite": 0.9, "Clear": 0.4, "pi_score": 0.6}
    assert {entry["run_id"] for entry in langsmith.feedback} == {run}
    assert {entry["session_id"] for entry in langsmith.feedback} == {PROJECT}
    assert {entry.get("trace_id") for entry in langsmith.feedback} == {trace if traced else None}
    assert {path.rpartition("/")[2] for path in langsmith.paths} == {"multipart" if traced else "feedback"}
    assert found["Polite"]["feedback_source"]["type"] == "model"
    assert found["Polite"]["feedback_source"]["metadata"]["name"] == "support"


def test_the_project_is_looked_up_once(client: AsyncPiClient, langsmith: LangSmith, langsmith_client: Client) -> None:
    """And the application's own sessions are not taken for it."""
    sink = LangSmithFeedbackSink(langsmith_client, project="live traffic")
    with sink, BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for _ in range(3):
            submit(scorer, run_id=str(uuid4()), session_id="conversation 7")
        assert scorer.flush(10)
    assert [path.partition("name=")[2].partition("&")[0] for path in langsmith.projects] == ["live+traffic"]
    assert {entry["session_id"] for entry in langsmith.feedback} == {PROJECT}


def test_an_unscored_question_has_a_comment_and_no_score(
    client: AsyncPiClient, langsmith: LangSmith, langsmith_client: Client
) -> None:
    """Unscored is not 0, and the total says what it leaves out."""
    rubric = [*RUBRIC, {"question": "Unknown?", "label": "Unknown"}]
    sink = LangSmithFeedbackSink(langsmith_client, feedback_key="quality")
    with sink, BackgroundScorer(rubric, client=client, sink=sink, unscored="partial") as scorer:
        submit(scorer, run_id=str(uuid4()))
        assert scorer.flush(10)
    found = by_key(langsmith)
    assert found["Unknown"].get("score") is None
    assert found["Unknown"]["comment"].startswith("unscored: ")
    assert found["quality"]["comment"] == "without the unscored questions: Unknown"


@pytest.mark.parametrize("metadata", [{}, {"run_id": "run 7"}])
def test_a_score_of_no_run_fails_and_says_so(
    client: AsyncPiClient, langsmith_client: Client, metadata: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Counted by the scorer; other sinks have it."""
    memory = MemorySink()
    with LangSmithFeedbackSink(langsmith_client) as sink:
        with BackgroundScorer(RUBRIC, client=client, sink=[sink, memory]) as scorer:
            submit(scorer, **metadata)
            assert scorer.flush(10)
            assert scorer.counts() == ScorerCounts(submitted=1, failed=1)
    assert len(memory.scores) == 1
    assert "run_id=" in caplog.text


def test_a_frozen_langsmith_holds_up_nobody(
    client: AsyncPiClient, langsmith: LangSmith, langsmith_client: Client
) -> None:
    """Scores are made and reach the other sinks; what is not sent waits, in bounds."""
    langsmith.wait.clear()
    memory = MemorySink()
    sink = LangSmithFeedbackSink(langsmith_client, max_queue=5)
    scorer = BackgroundScorer(RUBRIC, client=client, sink=[sink, memory])
    for _ in range(20):
        submit(scorer, run_id=str(uuid4()))
    deadline = time.monotonic() + 10
    while scorer.counts().pending and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(memory.scores) == 20
    assert scorer.counts() == ScorerCounts(submitted=20, scored=5, failed=15)
    assert sink.counts() == SinkCounts(given=20, dropped=15, pending=5)
    started = time.monotonic()
    scorer.close()
    sink.close()
    assert time.monotonic() - started < 5
    assert sink.counts() == SinkCounts(given=20, dropped=20)
    langsmith.wait.set()
    while len(langsmith.feedback) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)  # the one that was being sent


def test_feedback_that_is_refused_is_counted_and_logged_once_without_the_key(
    client: AsyncPiClient, langsmith: LangSmith, langsmith_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """LangSmith's own log goes on; ours has one line with its reason."""
    langsmith.status = 403
    with LangSmithFeedbackSink(langsmith_client) as sink, BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        for _ in range(3):
            submit(scorer, run_id=str(uuid4()))
        assert scorer.flush(10)
        assert sink.counts() == SinkCounts(given=3, failed=3)
    ours = [record.message for record in caplog.records if record.name.startswith("pi_integrations")]
    assert ["403" in message for message in ours] == [True]
    assert "lsv2" not in "".join(ours)


def test_a_langsmith_that_is_down_is_a_failure_and_nothing_more(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a part of the key is in the log."""
    down = Client("http://127.0.0.1:9", api_key="lsv2_a_secret_key", info=INFO, retry_config=Retry(0))
    with LangSmithFeedbackSink(down) as sink, BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        submit(scorer, run_id=str(uuid4()))
        assert scorer.flush(20)
        assert sink.counts() == SinkCounts(given=1, failed=1)
    ours = [record for record in caplog.records if record.name.startswith("pi_integrations")]
    assert len(ours) == 1
    assert "PiConnectionError" in ours[0].message
    assert "lsv2" not in ours[0].message
    down.close(timeout=1)
