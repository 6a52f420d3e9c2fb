"""Exchanges read at a glance, against the reader that every other adapter uses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser

from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.plain_answers import read_plain_answer
from pi_integrations.models import compose_llm_input

KINDS: dict[str, Any] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
    "tool": lambda text: ToolMessage(text, tool_call_id="1"),
}
EARLIER = st.lists(st.tuples(st.sampled_from([*KINDS]), st.sampled_from(["", "a", "b"])), max_size=6)
ANSWERS = ["A week.", AIMessage("A week."), AIMessageChunk("A week."), StrOutputParser().invoke(AIMessage("A week."))]
DOCUMENTS = [Document("Repairs take a week."), Document("Parts are in stock.")]


def composed(parts: dict[str, Any]) -> tuple[str, str]:
    answer = parts.pop("llm_output")
    return compose_llm_input(parts.pop("llm_input"), **parts), answer


def as_the_reader(inputs: Any, outputs: Any, documents: list[Document]) -> None:
    parts = read_plain_answer(ExchangeReader(), inputs, outputs, documents)
    expected = ExchangeReader().read(inputs, outputs, contexts=documents or None)
    assert parts is not None
    assert composed(parts) == (expected.llm_input, expected.llm_output)


@settings(max_examples=100)
@given(EARLIER, st.sampled_from(["", "How long?"]), st.sampled_from(ANSWERS), st.sampled_from([[], DOCUMENTS]))
def test_messages_say_what_the_reader_says(
    earlier: list[tuple[str, str]], question: str, answer: Any, documents: list[Document]
) -> None:
    """Of any conversation that ends in the user's words."""
    messages = [KINDS[role](text) for role, text in earlier]
    as_the_reader([*messages, HumanMessage(question)], answer, documents)


@pytest.mark.parametrize("inputs", ["How long?", "", {"question": "How long?"}, {"whatever": ""}, {"content": "Hi"}])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
@pytest.mark.parametrize("documents", [[], DOCUMENTS], ids=["alone", "with documents"])
def test_texts_say_what_the_reader_says(inputs: Any, answer: Any, documents: list[Document]) -> None:
    """A text, or a mapping with one text under any name."""
    as_the_reader(inputs, answer, documents)


CALL = {"name": "look_up", "args": {}, "id": "1"}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"context": "Repairs take a week."}, "A week."),
        ({"question": "How long?", "tone": "kind"}, "A week."),
        ({"question": 7}, "A week."),
        ({"messages": [HumanMessage("How long?")]}, "A week."),
        ([HumanMessage("How long?"), AIMessage("Let me see.")], "A week."),
        ([HumanMessage([{"type": "text", "text": "How long?"}])], "A week."),
        ([], "A week."),
        ("How long?", {"answer": "A week."}),
        ("How long?", AIMessage([{"type": "text", "text": "A week."}])),
        ("How long?", AIMessage("Let me see.", tool_calls=[CALL])),
        ("How long?", HumanMessage("A week.")),
        (None, "A week."),
    ],
)
def test_what_is_unusual_is_left_to_the_reader(inputs: Any, outputs: Any) -> None:
    """Rather than read differently."""
    assert read_plain_answer(ExchangeReader(), inputs, outputs, []) is None


@pytest.mark.parametrize("key", ["input_key", "output_key", "context_key"])
def test_keys_are_left_to_the_reader(key: str) -> None:
    """They may say anything."""
    assert read_plain_answer(ExchangeReader(**{key: "question"}), {"question": "How long?"}, "A week.", []) is None
