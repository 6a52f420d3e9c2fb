"""Who may call an engine, how much may be sent, and what its refusals say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pi_integrations import PiUsageError
from pi_integrations.engine.app import create_app
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.testing import ScriptedJudge

BODY = {"llm_input": "", "llm_output": "x", "scoring_spec": [{"question": "q"}]}
SCORE = "/scoring_system/score"


@asynccontextmanager
async def calling(
    *, peer: str = "127.0.0.1", host: str = "localhost", judge: ScriptedJudge | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(EngineSettings(judge=judge or ScriptedJudge(default=0.5), **settings))
    transport = httpx.ASGITransport(app=app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        yield http


KEYS = {"api_keys": (SecretStr("first"), SecretStr("second"))}


@pytest.mark.parametrize(
    "headers",
    [{"x-api-key": "first"}, {"x-api-key": "second"}, {"authorization": "Bearer second"}],
    ids=str,
)
async def test_any_of_the_keys_opens_in_either_header(headers: dict[str, str]) -> None:
    """From anywhere: a key stands in for the loopback checks."""
    async with calling(peer="203.0.113.5", host="engine.example", **KEYS) as http:
        assert (await http.post(SCORE, json=BODY, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "third"}, {"x-api-key": ""}, {"authorization": "Basic first"}, {"authorization": "first"}],
    ids=str,
)
async def test_no_or_another_key_is_401_and_never_worth_a_retry(headers: dict[str, str]) -> None:
    """Even from this machine."""
    async with calling(**KEYS) as http:
        answer = await http.post(SCORE, json=BODY, headers=headers)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (401, "false")
    assert "x-api-key" in answer.json()["detail"]


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_every_route_is_served_at_the_root_and_below_v1(prefix: str) -> None:
    """The hosted service's base URL ends in /v1; others need not."""
    async with calling() as http:
        assert (await http.post(prefix + SCORE, json=BODY)).json()["total_score"] == 0.5
        health = (await http.get(prefix + "/healthz")).json()
    assert health == {"status": "ok", "judge": "scripted/default"}


@pytest.mark.parametrize(
    ("given", "headers", "says"),
    [
        ({"peer": "203.0.113.5"}, {}, "peer"),
        ({"host": "engine.example"}, {}, "Host"),
        ({"host": "127.evil.example"}, {}, "Host"),
        ({}, {"origin": "https://evil.example"}, "Origin"),
        ({}, {"origin": "null"}, "Origin"),
    ],
    ids=str,
)
async def test_without_keys_only_this_machine_may_call(
    given: dict[str, str], headers: dict[str, str], says: str
) -> None:
    """A web page in the user's browser is not this machine, whatever name it made resolve to it."""
    async with calling(**given) as http:
        answer = await http.post(SCORE, json=BODY, headers=headers)
    assert answer.status_code == 403
    assert says in answer.json()["detail"]
    assert "--api-key" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.0.0.2"])
async def test_loopback_by_any_name_is_this_machine(host: str) -> None:
    """With or without a port."""
    async with calling(host=host) as http:
        answer = await http.post(SCORE, json=BODY, headers={"origin": f"http://{host}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_only_json_is_taken(kind: str) -> None:
    """The content types that a page may send without asking are refused."""
    async with calling() as http:
        answer = await http.post(SCORE, content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (415, "false")


async def test_a_wrong_policy_header_is_refused() -> None:
    """The two values are named."""
    async with calling() as http:
        answer = await http.post(SCORE, json=BODY, headers={"x-pi-unscored": "ignore"})
    assert answer.status_code == 422
    assert "error or partial" in answer.json()["detail"][0]["msg"]


async def test_a_failure_of_the_engines_own_is_told_in_the_usual_shape(caplog: pytest.LogCaptureFixture) -> None:
    """And logged under the request id that the caller got."""

    class Breaking(ScriptedJudge):
        broken = False

        def __getattribute__(self, name: str) -> Any:
            if name == "fingerprint" and Breaking.broken:
                raise KeyError("secret")
            return super().__getattribute__(name)

    async with calling(judge=Breaking(default=0.5)) as http:
        Breaking.broken = True
        answer = await http.post(SCORE, json=BODY, headers={"x-request-id": "r-9"})
    assert answer.status_code == 500
    assert "log" in answer.json()["detail"]
    assert answer.headers["x-request-id"] == "r-9"
    assert "r-9" in caplog.text


async def test_a_post_without_a_body_reaches_its_route() -> None:
    """An unknown one is 404, as for every other method."""
    async with calling() as http:
        assert (await http.post("/training/sft/x/load")).status_code == 404
        assert (await http.post(SCORE)).status_code == 422
        assert (await http.get(SCORE)).headers["allow"] == "POST"


async def test_json_with_a_charset_is_json() -> None:
    """As many HTTP libraries send it."""
    async with calling() as http:
        headers = {"content-type": "Application/JSON; charset=utf-8"}
        answer = await http.post(SCORE, json=BODY, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413(announced: bool) -> None:
    """Whether its length is announced or found out while reading."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    headers = {"content-type": "application/json"}
    async with calling(max_request_bytes=1000) as http:
        answer = await http.post(SCORE, content=b"x" * 2000 if announced else chunks(), headers=headers)
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["detail"]


async def test_more_than_the_engine_can_take_is_429_with_a_wait() -> None:
    """One in flight, one allowed: the second is asked to come back; it may retry."""
    judge = ScriptedJudge(default=0.5, delay=0.3)
    async with calling(judge=judge, max_in_flight=1) as http:
        first = asyncio.create_task(http.post(SCORE, json=BODY))
        await asyncio.sleep(0.1)
        second = await http.post(SCORE, json=BODY)
        assert (await first).status_code == 200
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert "x-should-retry" not in second.headers


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"llm_input": "a", "llm_ou',
    "invalid UTF-8": b'{"llm_input": "\xff", "llm_output": "x", "scoring_spec": [{"question": "q"}]}',
    "lone surrogate": b'{"llm_input": "\\ud800", "llm_output": "x", "scoring_spec": [{"question": "q"}]}',
    "a list": b"[]",
    "deep nesting": b"[" * 100_000,
    "NaN weight": b'{"llm_input": "", "llm_output": "x", "scoring_spec": [{"question": "q", "weight": NaN}]}',
    "kwargs of another type": b'{"llm_input": "", "llm_output": "x", "scoring_spec": [{"question": "q"}], "kwargs": 3}',
    "unknown mean": b'{"llm_input":"","llm_output":"x","scoring_spec":[{"question":"q"}],"aggregation_method":"MODE"}',
}


@pytest.mark.parametrize("body", BAD_BODIES, ids=str)
async def test_a_malformed_body_is_422_with_the_place(body: str) -> None:
    """FastAPI's shape of detail, without the input itself."""
    async with calling() as http:
        answer = await http.post(SCORE, content=BAD_BODIES[body], headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (422, "false")
    problem = answer.json()["detail"][0]
    assert problem["loc"][0] == "body"
    assert set(problem) == {"type", "loc", "msg"}


async def test_five_megabytes_of_output_are_taken() -> None:
    """Within the default limit; what a judge can read is the judge's to say."""
    async with calling() as http:
        answer = await http.post(SCORE, json=BODY | {"llm_output": "x" * 5_000_000})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/training/grpo", "/search", "/prompt/optimize", "/nothing"])
async def test_routes_of_other_families_are_404(path: str) -> None:
    """In the shape of every other error."""
    async with calling() as http:
        answer = await http.post(path, json={})
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


async def test_an_answer_carries_the_callers_request_id() -> None:
    """Or one of the engine's own."""
    async with calling() as http:
        given = await http.post(SCORE, json=BODY, headers={"x-request-id": "mine"})
        made = await http.post(SCORE, json=BODY)
    assert given.headers["x-request-id"] == "mine"
    assert len(made.headers["x-request-id"]) == 32


async def test_the_openapi_page_describes_the_score_body() -> None:
    """Read by hand in the route, but told in the schema."""
    async with calling() as http:
        schema = (await http.get("/openapi.json")).json()
    body = schema["paths"][SCORE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    model = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert set(model["required"]) == {"llm_input", "llm_output", "scoring_spec"}
    named = {part.split('"')[0] for part in json.dumps(schema).split("#/components/schemas/")[1:]}
    assert named <= set(schema["components"]["schemas"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "0.0.0.0"}, "refusing to listen on 0.0.0.0 without keys"),
        ({"host": "::"}, "without keys"),
        ({"host": "127.evil.example"}, "without keys"),
    ],
)
def test_binding_beyond_loopback_without_keys_is_refused(given: dict[str, str], says: str) -> None:
    """And allowed with one."""
    with pytest.raises(PiUsageError, match=says):
        EngineSettings(**given).check_binding()  # type: ignore[arg-type]
    EngineSettings(**given, **KEYS).check_binding()  # type: ignore[arg-type]


def test_engine_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are comma-separated; given values win; keys hide in repr."""
    monkeypatch.setenv("PI_ENGINE_PORT", "9001")
    monkeypatch.setenv("PI_ENGINE_API_KEYS", "alpha, beta,")
    settings = EngineSettings.from_env(host="::1")
    assert (settings.host, settings.port) == ("::1", 9001)
    assert [key.get_secret_value() for key in settings.api_keys] == ["alpha", "beta"]
    assert "alpha" not in repr(settings)
    monkeypatch.setenv("PI_ENGINE_PORT", "http")
    with pytest.raises(PiUsageError, match="PI_ENGINE_PORT"):
        EngineSettings.from_env()


@pytest.mark.parametrize("judge", ["gpt-4", "chat:", "local:", "", 3, object], ids=repr)
def test_an_unknown_judge_is_refused_with_the_choices(judge: Any) -> None:
    """Where it is given, not at the first request."""
    with pytest.raises(PiUsageError, match="baseline"):
        create_app(EngineSettings(judge=judge))
