"""Calls to chat models and the tracing of the application around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from chat_fakes import FunctionModel, said
from langchain_core.callbacks import get_usage_metadata_callback
from langsmith import Client, get_tracing_context, tracing_context
from opentelemetry import context as otel

from pi_integrations.engine.chat_models.asking import ChatModel, Role
from pi_integrations.engine.chat_models.fence import Prompt

ENGINE_TESTS = Path(__file__).parents[1]
# As a server has it, but for the endpoint: that for multipart bodies is harder to read.
INGEST = {
    "use_multipart_endpoint": False,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 16,
    "scale_down_nempty_trigger": 4,
}
CASES = ["sync", "async", "background", "generator"]


class LangSmith(BaseHTTPRequestHandler):
    """A tracing server on the loopback interface that keeps what it is sent."""

    received: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._answer({"version": "0", "batch_ingest_config": INGEST})

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer({})

    def _answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Observed:
    """What reached the tracing server, and what the application's handler saw."""

    runs: list[dict[str, Any]]
    seen_by_handler: list[str]

    def naming(self, text: str) -> list[dict[str, Any]]:
        return [run for run in self.runs if text in json.dumps(run.get("inputs"))]


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    """One application of several cases, traced by a server of ours."""
    handler = type("Keeping", (LangSmith,), {"received": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    tracing = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": address, "LANGSMITH_API_KEY": "no-key"}
    path = os.pathsep.join([str(ENGINE_TESTS / "judges"), str(ENGINE_TESTS / "synthesis"), *sys.path])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("traced_application.py"))],
        capture_output=True,
        text=True,
        env={**os.environ, **tracing, "PYTHONPATH": path},
        timeout=100,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    runs = [run for body in handler.received for run in [*body.get("post", []), *body.get("patch", [])]]
    yield Observed(runs, json.loads(done.stdout))


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_not_traced_where_the_caller_switched_tracing_off(observed: Observed, case: str) -> None:
    """Neither as the application's run nor as a run of ours."""
    assert observed.naming(f"{case} traced")
    assert not observed.naming(f"{case} untraced")


@pytest.mark.parametrize("case", CASES)
def test_a_traced_call_is_a_run_of_its_own(observed: Observed, case: str) -> None:
    """Named and tagged as ours, and no part of the application's run."""
    name = "pi_generator" if case == "generator" else "pi_judge"
    ours = [run for run in observed.naming(f"{case} traced") if run["name"] != "application"]
    assert ours
    for run in ours:
        assert run["name"] == name and name in run["tags"]
        assert run.get("parent_run_id") is None and run["trace_id"] == run["id"]


def test_the_handler_of_the_application_sees_none_of_the_calls(observed: Observed) -> None:
    """Whether traced or not."""
    assert observed.seen_by_handler == []


def asked_by(seen: list[Any], look: Any) -> ChatModel:
    """A chat model that notes what `look` returns where its provider would be called."""

    def reply(messages: Any, request: Any) -> Any:
        seen.append(look())
        return said("yes", response_metadata={"model_name": "tiny-1"})

    return ChatModel(FunctionModel(reply=reply), Role("model", reads="text", run="pi_test"), timeout=5.0)


async def test_client_and_project_of_the_caller_are_kept_and_its_tags_are_not() -> None:
    """A client may hide inputs; tags belong to the application's run."""
    seen: list[Any] = []
    client = Client(api_key="no-key", api_url="http://127.0.0.1:9", auto_batch_tracing=False)
    with tracing_context(client=client, project_name="audits", tags=["checkout"], enabled=False):
        await asked_by(seen, get_tracing_context).ask(Prompt("", "Hi"))
    [settings] = seen
    assert settings["client"] is client and settings["project_name"] == "audits"
    assert settings["enabled"] is False and not settings["tags"]


async def test_what_suppresses_opentelemetry_in_the_caller_suppresses_it_inside() -> None:
    """And nothing else of its context is there, such as its span."""
    seen: list[Any] = []
    entries = otel.set_value("suppress_instrumentation", True, otel.set_value("current-span", "of the caller"))
    token = otel.attach(entries)
    try:
        await asked_by(seen, lambda: dict(otel.get_current())).ask(Prompt("", "Hi"))
    finally:
        otel.detach(token)
    assert seen == [{"suppress_instrumentation": True}]


async def test_token_counters_of_the_application_count_none_of_the_calls() -> None:
    """They are registered with LangChain for all that runs in their context."""
    with get_usage_metadata_callback() as counted:
        await asked_by([], lambda: None).ask(Prompt("", "Hi"))
    assert counted.usage_metadata == {}
