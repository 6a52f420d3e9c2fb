"""The offline chat model: distinct items forever, and misbehaviour on request."""

from __future__ import annotations

import json
import time

import pytest
from langchain_core.messages import AIMessage

from pi_integrations.engine.synthesis.near_duplicates import NearDuplicates
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator


def test_two_thousand_inputs_are_unlike_each_other() -> None:
    """Few of them would be turned down as near-duplicates."""
    model, kept, similar = ScriptedGenerator(record=False), NearDuplicates(), 0
    for n in range(20):
        asked = f"{n}. Reply with a JSON list of exactly 100 inputs and nothing else"
        for text in json.loads(model.invoke(asked).text):
            similar += kept.similar(text) is not None
            kept.add(text)
    assert len(kept) == 2000 and similar < 100


def test_the_same_prompt_gets_the_same_answer() -> None:
    """From any instance, as a job that was killed needs it."""
    prompt = "Reply with a JSON list of exactly 3 inputs and nothing else"
    assert ScriptedGenerator().invoke(prompt).text == ScriptedGenerator().invoke(prompt).text
    assert ScriptedGenerator().invoke(prompt).text != ScriptedGenerator().invoke(f"Well. {prompt}").text


async def test_it_gives_the_answers_it_was_given() -> None:
    """Text, message or exception, one after the other; then in its own words, at its own pace."""
    model = ScriptedGenerator(answers=["one", AIMessage("two"), ValueError("three")], latency=0.05)
    started = time.perf_counter()
    assert [(await model.ainvoke("x")).text, model.model_copy().invoke("x").text] == ["one", "two"]
    with pytest.raises(ValueError, match="three"):
        model.invoke("x")
    assert len(model.invoke("x").text) > 20 and model.asked == ["x"] * 4
    assert time.perf_counter() - started >= 0.2


def test_tokens_are_reported_unless_switched_off() -> None:
    """A quarter of the characters, and one."""
    usage = ScriptedGenerator(answers=["12345678"]).invoke("1234").usage_metadata
    assert usage is not None and (usage["input_tokens"], usage["output_tokens"]) == (2, 3)
    assert ScriptedGenerator(usage=False).invoke("1234").usage_metadata is None
