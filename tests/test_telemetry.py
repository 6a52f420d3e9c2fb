"""OpenTelemetry: spans of score calls and events of scores, with the real SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fault_server import OK, fault_server, http
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiClient, PiConnectionError, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.background import BackgroundScorer, MemorySink, OpenTelemetrySink, ScorerCounts
from pi_integrations.testing import ScriptedJudge, Verdict, embedded

RUBRIC = [{"question": POLITE, "label": "Polite"}, {"question": CLEAR, "label": "Clear"}]
EXCHANGE: dict[str, Any] = {"llm_input": "a private question", "llm_output": "a private answer"}
AGAIN = [http(503, connection="close"), http(429, connection="close")]
AT_ONCE = RetryPolicy(attempts=3, initial=0.0)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What an application's tracer provider exported; the provider goes with the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def events() -> Iterator[Events]:
    """What an application's logger provider exported."""
    seen = Events()
    yield seen
    seen.provider.shutdown()


class Events:
    """A logger provider, and what was written to it."""

    def __init__(self) -> None:
        self.exporter = InMemoryLogRecordExporter()
        self.provider = LoggerProvider()
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))

    def records(self) -> list[Any]:
        return [data.log_record for data in self.exporter.get_finished_logs()]

    def attributes(self) -> dict[str, dict[str, Any]]:
        """By the name of the evaluation."""
        found = [dict(record.attributes) for record in self.records()]
        return {each["gen_ai.evaluation.name"]: each for each in found}


def the_call(spans: InMemorySpanExporter) -> ReadableSpan:
    (call,) = [span for span in spans.get_finished_spans() if span.name == "evaluate pi"]
    return call


def score(client: PiClient) -> Any:
    return client.scoring_system.score(scoring_spec=RUBRIC, **EXCHANGE)


def test_a_score_call_is_a_client_span(spans: InMemorySpanExporter) -> None:
    """With the operation, the server, the status and the total."""
    with fault_server(OK) as server, PiClient(base_url=server.url, api_key="a-secret-key") as client:
        score(client)
    call = the_call(spans)
    assert call.kind is trace.SpanKind.CLIENT
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "evaluate",
        "gen_ai.provider.name": "pi",
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": int(server.url.rpartition(":")[2]),
        "http.response.status_code": 200,
        "pi.total_score": 0.9,
    }
    assert call.status.status_code is trace.StatusCode.UNSET


def test_a_score_call_belongs_to_the_span_around_it(spans: InMemorySpanExporter) -> None:
    """Though it runs on the background loop, with an engine in this process."""
    with embedded(judge=ScriptedJudge(default=0.5)) as client:
        with trace.get_tracer("application").start_as_current_span("request") as request:
            score(client)
    call = the_call(spans)
    assert call.parent is not None
    assert call.parent.span_id == request.get_span_context().span_id
    assert (call.attributes or {})["pi.judge"]


def test_retries_are_counted(spans: InMemorySpanExporter) -> None:
    """One span for the call; the status is the last answer's."""
    with fault_server(*AGAIN, OK) as server, PiClient(base_url=server.url, retry=AT_ONCE) as client:
        score(client)
    attributes = dict(the_call(spans).attributes or {})
    assert attributes["http.request.resend_count"] == 2
    assert attributes["http.response.status_code"] == 200
    assert "error.type" not in attributes


def test_an_error_is_its_status_and_nothing_of_its_text(spans: InMemorySpanExporter) -> None:
    """A service may quote the exchange in its detail."""
    with fault_server(http(422, {"detail": "private words"})) as server:
        with PiClient(base_url=server.url, api_key="a-secret-key") as client, pytest.raises(PiStatusError):
            score(client)
    call = the_call(spans)
    assert (call.attributes or {})["error.type"] == "422"
    assert (call.attributes or {})["http.response.status_code"] == 422
    assert call.status.status_code is trace.StatusCode.ERROR
    assert "private" not in call.to_json()
    assert "secret" not in call.to_json()


def test_a_server_that_is_down_is_an_error_without_a_status(spans: InMemorySpanExporter) -> None:
    """The kind of error, and nothing of the key."""
    with PiClient(base_url="http://127.0.0.1:9", api_key="a-secret-key", retry=AT_ONCE) as client:
        with pytest.raises(PiConnectionError):
            score(client)
    call = the_call(spans)
    assert (call.attributes or {})["error.type"] == "pi_integrations.errors.PiConnectionError"
    assert "http.response.status_code" not in (call.attributes or {})
    assert (call.attributes or {})["http.request.resend_count"] == 2
    assert "secret" not in call.to_json()


def test_a_background_score_links_to_the_span_that_was_current_at_submit(
    client: AsyncPiClient, spans: InMemorySpanExporter
) -> None:
    """It is a trace of its own: the request it came from ended long ago."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        with trace.get_tracer("application").start_as_current_span("request") as request:
            scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
    call = the_call(spans)
    assert call.parent is None
    assert call.context.trace_id != request.get_span_context().trace_id
    assert [link.context for link in call.links] == [request.get_span_context()]
    assert sink.scores[0].span == request.get_span_context()


def test_each_background_score_links_to_its_own_span(client: AsyncPiClient, spans: InMemorySpanExporter) -> None:
    """Also when many are made at a time; outside every span there is no link."""
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        for number in range(10):
            with trace.get_tracer("application").start_as_current_span(f"request {number}"):
                scorer.submit(llm_input="Hello?", llm_output=str(number))
        scorer.submit(llm_input="Hello?", llm_output="alone")
        assert scorer.flush(10)
    done = spans.get_finished_spans()
    requests = {span.context.span_id for span in done if span.name.startswith("request")}
    linked = [[link.context.span_id for link in span.links] for span in done if span.name == "evaluate pi"]
    assert {span_id for links in linked for span_id in links} == requests
    assert sorted(map(len, linked)) == [0] + [1] * 10


def test_a_score_is_an_event_per_question_and_one_for_the_total(client: AsyncPiClient, events: Events) -> None:
    """By the semantic conventions: name, value, label, and the id of the response."""
    sink = OpenTelemetrySink(logger_provider=events.provider)
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        scorer.submit(
            **EXCHANGE, name="support", tags=["beta"], metadata={"run_id": "run 7", "response_id": "response 7"}
        )
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=1, scored=1)
    assert {record.event_name for record in events.records()} == {"gen_ai.evaluation.result"}
    found = events.attributes()
    judge = found["Polite"].pop("pi.judge")
    assert found["Polite"] == {
        "gen_ai.evaluation.name": "Polite",
        "gen_ai.evaluation.score.value": 0.9,
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.response.id": "response 7",
        "pi.run_id": "run 7",
        "pi.name": "support",
        "pi.tags": ("beta",),
    }
    assert judge
    assert found["Clear"]["gen_ai.evaluation.score.label"] == "fail"
    assert found["pi_score"]["gen_ai.evaluation.score.value"] == 0.6  # the geometric mean of .9 and .4
    assert found["pi_score"]["gen_ai.evaluation.score.label"] == "pass"
    assert len(found) == 3


def test_events_belong_to_the_span_that_was_current_at_submit(
    client: AsyncPiClient, spans: InMemorySpanExporter, events: Events
) -> None:
    """So that a trace shows the scores of its answer."""
    with BackgroundScorer(RUBRIC, client=client, sink=OpenTelemetrySink(logger_provider=events.provider)) as scorer:
        with trace.get_tracer("application").start_as_current_span("request") as request:
            scorer.submit(**EXCHANGE)
        scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
    context = request.get_span_context()
    found = {(record.trace_id, record.span_id) for record in events.records()}
    assert found == {(context.trace_id, context.span_id), (0, 0)}


EXPLAINED = ScriptedJudge({POLITE: Verdict(score=0.9, method="scripted", explanation="it says 'a private answer'")})


def test_events_hold_no_text_unless_asked(events: Events) -> None:
    """Not even the judge's words, which may quote the exchange."""
    with embedded(judge=EXPLAINED) as client:
        sink = OpenTelemetrySink(logger_provider=events.provider)
        with BackgroundScorer(RUBRIC[:1], client=client, sink=sink) as scorer:
            scorer.submit(**EXCHANGE)
            assert scorer.flush(10)
    assert len(events.records()) == 2
    assert "private" not in str(events.attributes())


def test_events_hold_text_when_asked(events: Events) -> None:
    """Explanations on the questions, input and output as messages on the total."""
    with embedded(judge=EXPLAINED) as client:
        sink = OpenTelemetrySink(logger_provider=events.provider, capture_content=True)
        with BackgroundScorer(RUBRIC[:1], client=client, sink=sink) as scorer:
            scorer.submit(**EXCHANGE)
            assert scorer.flush(10)
    found = events.attributes()
    assert found["Polite"]["gen_ai.evaluation.explanation"] == "it says 'a private answer'"
    (asked,) = found["pi_score"]["gen_ai.input.messages"]
    (answered,) = found["pi_score"]["gen_ai.output.messages"]
    assert (asked["role"], asked["parts"][0]["content"]) == ("user", "a private question")
    assert (answered["role"], answered["parts"][0]["content"]) == ("assistant", "a private answer")


def test_an_unscored_question_is_an_error_and_no_value(client: AsyncPiClient, events: Events) -> None:
    """Unscored is not 0."""
    rubric = [*RUBRIC, {"question": "Unknown?", "label": "Unknown"}]
    sink = OpenTelemetrySink(logger_provider=events.provider)
    with BackgroundScorer(rubric, client=client, sink=sink, unscored="partial") as scorer:
        scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
    unknown = events.attributes()["Unknown"]
    assert unknown["error.type"] == "unscored"
    assert not {"gen_ai.evaluation.score.value", "gen_ai.evaluation.score.label"} & unknown.keys()


@pytest.mark.parametrize(
    ("threshold", "labels"), [(0.95, ["fail"] * 3), (0.6, ["pass", "fail", "pass"]), (None, [None] * 3)]
)
def test_labels_follow_the_threshold(
    client: AsyncPiClient, events: Events, threshold: float | None, labels: list[str | None]
) -> None:
    """A score that reaches it passes; without one there are no labels."""
    sink = OpenTelemetrySink(logger_provider=events.provider, threshold=threshold)
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
    found = events.attributes()
    assert [found[name].get("gen_ai.evaluation.score.label") for name in ("Polite", "Clear", "pi_score")] == labels


def test_the_application_s_own_logger_provider_is_used(
    client: AsyncPiClient, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is configured after the sink was made; without one, nothing is written."""
    sink = OpenTelemetrySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
        monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", events.provider)
        scorer.submit(**EXCHANGE)
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(submitted=2, scored=2)
    assert len(events.records()) == 3


def test_a_threshold_out_of_range_is_refused() -> None:
    """The message says what it is."""
    with pytest.raises(PiUsageError, match="threshold is 2"):
        OpenTelemetrySink(threshold=2)


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_without_open_telemetry_in_the_application_it_is_never_loaded() -> None:
    """Scoring in the foreground and in the background alike."""
    code = """
import sys
from pi_integrations import PiClient
from pi_integrations.background import BackgroundScorer
rubric = [{"question": "Is it polite?"}]
with PiClient(base_url=sys.argv[1]) as client, BackgroundScorer(rubric, client=client) as scorer:
    client.scoring_system.score(llm_input="Hello?", llm_output="Good day", scoring_spec=rubric)
    scorer.submit(llm_input="Hello?", llm_output="Good day")
    assert scorer.flush(10) and scorer.counts().scored == 1
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""
    with fault_server(OK) as server:
        assert run_python(code, server.url) == "False"


def test_without_the_package_the_sink_says_what_to_install() -> None:
    """And everything else works."""
    code = """
import sys
sys.modules["opentelemetry"] = None
from pi_integrations.background import OpenTelemetrySink
try:
    OpenTelemetrySink()
except ImportError as error:
    print(error)
"""
    assert "pip install 'pi-integrations[otel]'" in run_python(code)
