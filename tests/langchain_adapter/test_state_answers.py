"""Agents' messages read in one pass, against the reader that every other adapter uses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.types import Command

from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.state_answers import read_state_answer
from pi_integrations.models import compose_llm_input

KINDS: dict[str, Any] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
    "tool": lambda text: ToolMessage(text, tool_call_id="1"),
}
TURNS = st.lists(st.tuples(st.sampled_from([*KINDS]), st.sampled_from(["", "a", "b", "c"])), max_size=8)


def message(turn: tuple[str, str]) -> BaseMessage:
    made: BaseMessage = KINDS[turn[0]](turn[1])
    return made


def composed(parts: dict[str, Any]) -> tuple[str, str]:
    answer = parts.pop("llm_output")
    return compose_llm_input(parts.pop("llm_input"), **parts), answer


@settings(max_examples=200)
@given(TURNS, st.integers(0, 8))
def test_it_says_what_the_reader_says(turns: list[tuple[str, str]], asked: int) -> None:
    """Of any conversation, with any part of it as the input, as messages, pairs or mappings."""
    messages = [*map(message, turns), AIMessage("The answer.")]
    expected = ExchangeReader().read({"messages": messages[:asked]}, {"messages": messages})
    mappings = [{"role": role, "content": text} for role, text in turns[:asked]]
    for inputs in (messages[:asked], turns[:asked], mappings):
        parts = read_state_answer({"messages": inputs}, messages)
        assert parts is not None
        assert composed(parts) == (expected.llm_input, expected.llm_output)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([HumanMessage("Something else")], [HumanMessage("Hi"), AIMessage("Hello!")]),
        ("Hi", [HumanMessage("Hi"), AIMessage("Hello!")]),
        ([], [HumanMessage([{"type": "text", "text": "Hi"}]), AIMessage("Hello!")]),
        ([], [ChatMessage("Hi", role="critic"), AIMessage("Hello!")]),
        ([{"role": "user", "content": "Hi", "name": "Ann"}], [HumanMessage("Hi"), AIMessage("Hello!")]),
    ],
)
def test_what_is_unusual_is_left_to_the_reader(asked: Any, told: list[BaseMessage]) -> None:
    """Rather than read differently."""
    assert read_state_answer({"messages": asked}, told) is None


def test_a_resumed_graph_is_given_a_command() -> None:
    """Its state holds what was asked."""
    parts = read_state_answer(Command(resume=True), [HumanMessage("Hi"), AIMessage("Hello!")])
    assert parts is not None
    assert composed(parts) == ("Hi", "Hello!")
