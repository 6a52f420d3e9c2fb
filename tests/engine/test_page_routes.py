"""The page's files as an engine serves them: their headers, and who gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pi_integrations.engine.app import create_app
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.testing import ScriptedJudge

PAIRS = "/data/generate_input_response_pairs"


def asked(*, peer: str = "127.0.0.1", host: str = "localhost", **settings: Any) -> httpx.AsyncClient:
    app = create_app(EngineSettings(judge=ScriptedJudge(default=0.5), **settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=(peer, 1)), base_url=f"http://{host}")


FILES = [("/", "html"), ("/page/page.js", "javascript"), ("/page/page.css", "css"), ("/page/families.json", "json")]


@pytest.mark.parametrize(("path", "kind"), FILES)
async def test_every_file_comes_with_a_policy_that_trusts_this_engine_alone(path: str, kind: str) -> None:
    """And is asked for again each time, at the price of a 304."""
    async with asked() as http:
        answer = await http.get(path)
        again = await http.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert answer.status_code == 200 and kind in answer.headers["content-type"]
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} <= set(
        answer.headers["content-security-policy"].split("; ")
    )
    sent = [answer.headers[name] for name in ("x-content-type-options", "referrer-policy", "cache-control")]
    assert sent == ["nosniff", "no-referrer", "no-cache"]
    assert (again.status_code, again.content) == (304, b"")


async def test_families_are_described_from_the_registry() -> None:
    """Paths, kinds, items with their columns, and fields with the bounds and defaults of the request's model."""
    async with asked() as http:
        pairs, inputs, calibration = (await http.get("/page/families.json")).json()
    assert (pairs["path"], pairs["kind"], pairs["items"]) == (PAIRS, "pairs", "json")
    assert pairs["columns"] == ["llm_input", "llm_output"]
    assert (inputs["items"], inputs["columns"]) == ("text", ["llm_input"])
    assert (calibration["kind"], calibration["items"], calibration["columns"]) == ("calibration", None, [])
    fields = {field.pop("name"): field for field in calibration["fields"]}
    assert fields["scoring_spec"]["required"] and fields["strategy"]["enum"] == ["LITE", "FULL"]
    assert [fields[name]["items"] for name in ("examples", "preference_examples")] == ["object", "object"]
    fields = {field.pop("name"): field for field in pairs["fields"]}
    assert all(field.pop("description") for field in fields.values())
    assert fields["num_pairs_to_generate"] == {"type": "integer", "required": True, "minimum": 1, "maximum": 100_000}
    assert fields["seeds"] == {"type": "array", "required": True, "items": "object"}
    assert fields["min_score"] == {"type": "number", "required": False, "minimum": 0, "maximum": 1}
    assert fields["scoring_spec"] == {"type": "json", "required": False}
    assert fields["exploration_mode"]["enum"] == ["CONSERVATIVE", "BALANCED", "CREATIVE", "ADVENTUROUS"]
    assert fields["exploration_mode"]["default"] == "BALANCED"


async def test_the_page_names_no_other_server() -> None:
    """Not even in a comment."""
    folder = Path(__file__).parents[2] / "pi_integrations" / "engine" / "page"
    texts = [file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "") for file in folder.iterdir()]
    assert [text for text in texts if "http://" in text or "https://" in text or "//cdn" in text] == []


async def test_the_page_needs_no_key_and_everything_else_does() -> None:
    """It is the same for everybody, and asks for the key itself."""
    async with asked(peer="203.0.113.5", host="engine.example", api_keys=(SecretStr("right"),)) as http:
        statuses = [(await http.get(path)).status_code for path in ("/", "/page/api.js", PAIRS, "/page/none.js")]
        assert (await http.post("/", json={})).status_code == 401
    assert statuses == [200, 200, 401, 404]


@pytest.mark.parametrize("given", [{"host": "engine.example"}, {"peer": "203.0.113.5"}], ids=str)
async def test_without_keys_only_this_machine_gets_the_page(given: dict[str, str]) -> None:
    """As for every route: a name that leads here by another's DNS is not this machine."""
    async with asked(**given) as http:
        assert (await http.get("/")).status_code == 403


async def test_the_page_is_at_the_root_alone() -> None:
    """Below /v1 there is the API."""
    async with asked() as http:
        assert (await http.get("/v1/")).status_code == 404
