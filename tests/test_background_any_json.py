"""Lines of JSON, whatever an application put into its metadata."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from pi_integrations import AsyncPiClient, ScoreResult
from pi_integrations.background import BackgroundScore, BackgroundScorer, JsonlSink
from pi_integrations.background.any_json import any_json

RAW = b"caf\xe9"
RESULT = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Plain:
    def __str__(self) -> str:
        return "plain"


def circular() -> dict[str, Any]:
    circle: dict[str, Any] = {"n": 1}
    circle["list"] = [circle, 2]
    return circle


def nested(levels: int) -> Any:
    deep: Any = "ground"
    for _ in range(levels):
        deep = {"in": deep}
    return deep


def web(size: int) -> list[list[Any]]:
    lists: list[list[Any]] = [[] for _ in range(size)]
    for each in lists:
        each.extend(lists)
    return lists


SHARED = {"raw": RAW}
CASES: dict[str, tuple[Any, Any]] = {
    "bytes that are no UTF-8": ({"raw": RAW, "good": b"ok"}, {"raw": "caf\\xe9", "good": "ok"}),
    "half a character": ({"text": "a\ud800b\nc"}, {"text": "a\\ud800b\nc"}),
    "half a character in a key": ({"\ud800": 1}, {"\\ud800": 1}),
    "bytes for a key": ({RAW: 1}, {"caf\\xe9": 1}),
    "keys of every kind": (
        {1: 1, None: 2, 3.5: 3, (1, 2): 4, Plain(): 5, frozenset([6]): 6, Nameless(): 7},
        {"1": 1, "None": 2, "3.5": 3, "1,2": 4, "plain": 5, "frozenset({6})": 6, "<Nameless>": 7},
    ),
    "what has no text": ({"thing": Nameless(), "other": Plain()}, {"thing": "<Nameless>", "other": "plain"}),
    "a mapping in itself": ({"circle": circular()}, {"circle": {"n": 1, "list": ["...", 2]}}),
    "other containers": ([(RAW, 1), deque([RAW]), {RAW}], [["caf\\xe9", 1], ["caf\\xe9"], ["caf\\xe9"]]),
    "one mapping twice": ({"a": SHARED, "b": SHARED}, {"a": {"raw": "caf\\xe9"}, "b": "..."}),
    "many levels": (nested(300), nested(300)),
    "not a number": ({"x": float("nan"), "raw": RAW}, {"x": None, "raw": "caf\\xe9"}),
}


@pytest.mark.parametrize(("value", "read"), CASES.values(), ids=CASES)
def test_anything_is_written_and_read(value: Any, read: Any) -> None:
    """The rest of it as ever, on one line."""
    written = any_json(value)
    assert b"\n" not in written
    assert json.loads(written) == read


@pytest.mark.parametrize("value", [nested(50_000), [web(200), RAW]], ids=["a well", "a web"])
def test_what_is_very_deep_or_has_no_end_is_cut(value: Any) -> None:
    """And still read by Python's reader."""
    written = any_json(value)
    assert len(written) < 1_000_000
    assert "..." in json.dumps(json.loads(written))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_ordinary_values_are_written_as_pydantic_writes_them(value: Any) -> None:
    """The careful way is for the others."""
    assert any_json(value) == to_json(value, inf_nan_mode="null")


texts = st.text(st.characters() | st.characters(categories=["Cs"]))
leaves = texts | st.binary() | st.none() | st.integers() | st.floats() | st.dates() | st.complex_numbers()


@given(
    st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(leaves, inner) | st.tuples(inner) | st.sets(leaves)
    )
)
def test_any_value_is_one_line_of_json(value: Any) -> None:
    """Of valid UTF-8."""
    written = any_json(value)
    assert b"\n" not in written
    json.loads(written.decode())


def test_a_jsonl_sink_writes_a_line_for_every_score(client: AsyncPiClient, tmp_path: Path) -> None:
    """Whatever its metadata is."""
    path = tmp_path / "scores.jsonl"
    metadata = [{"raw": RAW}, {"text": "\ud800"}, circular(), {Nameless(): Nameless()}]
    with BackgroundScorer([{"question": "Is the answer polite?"}], client=client, sink=JsonlSink(path)) as scorer:
        for each in metadata:
            scorer.submit(llm_input="Hello?", llm_output="Good day", metadata=each)
        assert scorer.flush(10)
        assert scorer.counts().scored == len(metadata)
    assert [json.loads(line)["llm_output"] for line in path.read_text().splitlines()] == ["Good day"] * 4


def test_texts_names_and_tags_that_are_no_unicode_are_written(tmp_path: Path) -> None:
    """Of an exchange that was scored elsewhere."""
    path = tmp_path / "scores.jsonl"
    half = "half \ud800"
    JsonlSink(path).write(BackgroundScore(half, half, RESULT, {half: half}, half, (half,)))
    (line,) = path.read_text().splitlines()
    read = json.loads(line)
    told = "half \\ud800"
    assert (read["llm_input"], read["llm_output"], read["name"], read["tags"]) == (told, told, told, [told])
    assert read["metadata"] == {told: told}
    assert read["result"]["total_score"] == 0.9
