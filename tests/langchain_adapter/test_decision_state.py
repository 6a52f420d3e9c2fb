"""How the state of a decision becomes an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from live_models import calls_tool

from pi_integrations import PiUsageError
from pi_integrations.langchain.decision_state import read_state
from pi_integrations.langchain.exchange import Exchange
from pi_integrations.models import compose_llm_input


@dataclass(frozen=True)
class Case:
    """A state, and the exchange it becomes."""

    name: str
    state: Any
    llm_input: str
    llm_output: str


TALK = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello!"), HumanMessage("How long?")]
HISTORY = [("user", "Hi"), ("assistant", "Hello!")]
CASES = [
    Case("a text", "Production is down.", "", "Production is down."),
    Case(
        "a talk that ends in an answer",
        [*TALK, AIMessage("A week.")],
        compose_llm_input("How long?", system_prompt="Be brief.", history=HISTORY),
        "A week.",
    ),
    Case(
        "a talk that ends in a question",
        {"messages": TALK},
        compose_llm_input("", system_prompt="Be brief.", history=HISTORY),
        "How long?",
    ),
    Case("one message", HumanMessage("How long?"), "", "How long?"),
    Case("an exchange", {"input": "How long?", "output": "A week."}, "How long?", "A week."),
    Case(
        "an exchange with contexts",
        {"llm_input": "How long?", "llm_output": "A week.", "contexts": ["C"]},
        compose_llm_input("How long?", contexts=["C"]),
        "A week.",
    ),
    Case("an answer alone", {"output": "A week."}, "", "A week."),
    Case(
        "any JSON",
        {"customer": {"since": 2020}, "output": "A week."},
        "",
        '{"customer": {"since": 2020}, "output": "A week."}',
    ),
    Case("a list", ["a", 1], "", '["a", 1]'),
    Case(
        "messages in JSON",
        {"messages": [HumanMessage("Hi"), calls_tool()], "tool_call": {"name": "look_up"}},
        "",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "tool_calls":'
        ' [{"name": "look_up", "args": {"what": "repairs"}}]}], "tool_call": {"name": "look_up"}}',
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_state_becomes_an_exchange(case: Case) -> None:
    """By the convention that `PiDecisionModel` documents."""
    assert read_state(case.state) == Exchange(case.llm_input, case.llm_output)


def test_a_state_that_is_no_json_is_refused() -> None:
    """With its type."""
    with pytest.raises(PiUsageError, match="type dict"):
        read_state({"when": object()})
