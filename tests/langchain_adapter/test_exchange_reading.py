"""What the judge is asked about, whatever shape LangChain and LangSmith hold the exchange in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, messages_to_dict
from pydantic import BaseModel
from questions import POLITE

from pi_integrations import AsyncPiClient, PiUsageError
from pi_integrations.langchain import create_pi_evaluator
from pi_integrations.models import compose_llm_input
from pi_integrations.testing import Exchange, ScriptedJudge

SPEC = [{"question": POLITE}]
CALL = {"name": "search", "args": {}, "id": "1"}
AGENT = [
    SystemMessage("Be brief."),
    HumanMessage("Hi"),
    AIMessage("Hello!"),
    HumanMessage("How long?"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("Repairs take a week.", tool_call_id="1"),
    AIMessage("A week."),
]
AGENT_INPUT = compose_llm_input(
    "How long?",
    system_prompt="Be brief.",
    history=[("user", "Hi"), ("assistant", "Hello!")],
    contexts=["Repairs take a week."],
)
OPENAI_AGENT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": [{"type": "text", "text": "How long?"}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
    {"role": "tool", "content": "Repairs take a week.", "tool_call_id": "1"},
    {"role": "assistant", "content": "A week."},
]


class Ticket(BaseModel):
    title: str
    notes: str = ""


@dataclass
class Talk:
    text: str
    notes: str = ""


@dataclass
class Letter:
    text: str
    sender: str


@dataclass(frozen=True)
class Case:
    """Inputs and outputs as a framework holds them, and the exchange that must be judged."""

    name: str
    inputs: Any
    outputs: Any
    llm_input: str
    llm_output: str
    reference: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("strings", "Q", "A", "Q", "A"),
    Case("no inputs", None, "A", "", "A"),
    Case("an empty answer", "Q", "", "Q", ""),
    Case("the only key", {"q": "Q"}, {"text": "A"}, "Q", "A"),
    Case("usual names", {"question": "Q", "id": 7}, {"answer": "A", "sources": ["x"]}, "Q", "A"),
    Case(
        "named keys",
        {"a": "Q", "b": "-"},
        {"c": "A", "d": "-"},
        "Q",
        "A",
        options={"input_key": "a", "output_key": "c"},
    ),
    Case(
        "functions",
        {"a": {"b": "Q"}, "c": 1},
        ["-", "A"],
        "Q",
        "A",
        options={"input_key": lambda inputs: inputs["a"]["b"], "output_key": lambda outputs: outputs[1]},
    ),
    Case("content", {"content": "Q"}, {"content": "A"}, "Q", "A"),
    Case("content with a content type", {"type": "text", "content": "Q"}, {"type": "text", "content": "A"}, "Q", "A"),
    Case("one message each", HumanMessage("Q"), AIMessage("A"), "Q", "A"),
    Case("texts for messages", {"messages": ["Q"]}, {"messages": ["Q", ("ai", "A")]}, "Q", "A"),
    Case("a pair for messages", {"messages": ("user", "Q")}, {"messages": [["user", "Q"], ["ai", "A"]]}, "Q", "A"),
    Case("texts that are no messages", {"q": ["Q", "R"]}, {"answer": ["A", "B"]}, '["Q", "R"]', '["A", "B"]'),
    Case(
        "a summary in the question's place",
        {"messages": [HumanMessage("Q")]},
        {"messages": [HumanMessage("S", additional_kwargs={"lc_source": "summarization"}), AIMessage("A")]},
        compose_llm_input("Q", history=[("summary", "S")]),
        "A",
    ),
    Case("JSON values", {"q": {"id": 7}}, {"output": {"title": "Größe"}}, '{"id": 7}', '{"title": "Größe"}'),
    Case("a pydantic value", "Q", Ticket(title="A"), "Q", '{"title":"A","notes":""}'),
    Case("a pydantic input", Ticket(title="Q"), "A", "Q", "A"),
    Case("a dataclass", Talk("Q"), Talk("A", "-"), "Q", '{"text":"A","notes":"-"}'),
    Case(
        "named fields",
        Ticket(title="Q", notes="-"),
        Talk("A", "-"),
        compose_llm_input("Q", reference="R"),
        "A",
        reference=Ticket(title="R", notes="-"),
        options={"input_key": "title", "output_key": "text", "reference_key": "title"},
    ),
    Case("a name for texts", "Q", "A", "Q", "A", options={"input_key": "question", "output_key": "answer"}),
    Case("a conversation", {"messages": AGENT[:4]}, {"messages": AGENT[4:]}, AGENT_INPUT, "A week."),
    Case("an agent's state repeats the input", {"messages": AGENT[:4]}, {"messages": AGENT}, AGENT_INPUT, "A week."),
    Case("a string beside an agent's state", {"question": "How long?"}, {"messages": AGENT}, AGENT_INPUT, "A week."),
    Case("a trajectory alone", None, AGENT, AGENT_INPUT, "A week."),
    Case("chat API messages", None, OPENAI_AGENT, AGENT_INPUT, "A week."),
    Case("serialised messages", {"messages": [dumpd(m) for m in AGENT[:4]]}, dumpd(AGENT[4:]), AGENT_INPUT, "A week."),
    Case("messages as dicts", messages_to_dict(AGENT[:4]), messages_to_dict(AGENT[4:]), AGENT_INPUT, "A week."),
    Case(
        "a traced chat model",
        {"messages": [[dumpd(HumanMessage("Q"))]]},
        {"generations": [[{"text": "A", "message": dumpd(AIMessage("A"))}]]},
        "Q",
        "A",
    ),
    Case(
        "a picture and reasoning",
        HumanMessage([{"type": "text", "text": "What is this? "}, {"type": "image", "url": "https://example.com/a"}]),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "A cat."}]),
        "What is this? [image]",
        "A cat.",
    ),
    Case("a reference", "Q", "A", compose_llm_input("Q", reference="R"), "A", reference="R"),
    Case("a reference entry", "Q", "A", compose_llm_input("Q", reference="R"), "A", reference={"answer": "R"}),
    Case(
        "reference messages", "Q", "A", compose_llm_input("Q", reference="A week."), "A", reference={"messages": AGENT}
    ),
    Case("no reference", "Q", "A", "Q", "A", reference={}),
    Case("a reference left out", "Q", "A", "Q", "A", reference="R", options={"reference_key": lambda _: None}),
    Case(
        "contexts in the outputs",
        {"question": "Q"},
        {"answer": "A", "context": [Document("one"), Document("two")]},
        compose_llm_input("Q", contexts=["one", "two"]),
        "A",
    ),
    Case("contexts in the inputs", {"q": "Q", "contexts": ["one"]}, "A", compose_llm_input("Q", contexts=["one"]), "A"),
    Case(
        "a context key",
        {"q": "Q", "docs": "one"},
        "A",
        compose_llm_input("Q", contexts=["one"]),
        "A",
        options={"context_key": "docs"},
    ),
    Case(
        "given parts come first",
        {"messages": AGENT},
        "Done.",
        compose_llm_input("How long?", system_prompt="S", history=[("user", "H")], contexts=["C", "D"]),
        "Done.",
        extras={
            "system_prompt": "S",
            "history": [HumanMessage("H")],
            "contexts": [Document("C"), dumpd(Document("D"))],
        },
    ),
    Case(
        "parts given as nothing",
        AGENT,
        "Done.",
        "How long?",
        "Done.",
        extras={"system_prompt": "", "history": [], "context": []},
    ),
    Case(
        "contexts in the shape of openevals",
        "Q",
        "A",
        compose_llm_input("Q", contexts=["one", "two"]),
        "A",
        extras={"context": {"documents": ["one", {"page_content": "two"}]}},
    ),
    Case(
        "pairs of texts are no messages",
        [("user", "How long?")],
        [("Paris", "France"), ("Rome", "Italy")],
        "How long?",
        '[["Paris", "France"], ["Rome", "Italy"]]',
    ),
    Case(
        "pairs under a name",
        {"question": [("cost", "low"), ("speed", "high")]},
        {"answer": [("Paris", "France")]},
        '[["cost", "low"], ["speed", "high"]]',
        '[["Paris", "France"]]',
    ),
    Case(
        "whoever speaks among messages",
        {"messages": [("critic", "Hm."), ("user", "How long?")]},
        "A week.",
        compose_llm_input("How long?", history=[("critic", "Hm.")]),
        "A week.",
    ),
    Case(
        "whoever speaks in a history",
        "How long?",
        "A week.",
        compose_llm_input("How long?", history=[("critic", "Hm.")]),
        "A week.",
        extras={"history": [("critic", "Hm.")]},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_judge_sees_the_exchange(case: Case, client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """Every shape arrives as one input and one output, by the one template."""
    evaluator = create_pi_evaluator(SPEC, client=client, **case.options)
    evaluator(inputs=case.inputs, outputs=case.outputs, reference_outputs=case.reference, **case.extras)
    assert judge.asked == [(Exchange(case.llm_input, case.llm_output), POLITE)]


def test_both_reading_sides_of_a_json_answer_agree_with_code_questions(client: AsyncPiClient) -> None:
    """A structured answer is sent as a JSON object, whose keys code questions get as arguments."""
    code = "def score(response_text, input_text, kwargs):\n    return {'score': kwargs['price'] / kwargs['budget']}"
    spec = [{"question": "Is it cheap?", "scoring_type": "PYTHON_CODE", "python_code": code}]
    evaluator = create_pi_evaluator(spec, client=client)
    feedback = evaluator(inputs="Q", outputs={"output": {"price": 3}}, kwargs={"budget": 4})
    assert feedback[-1]["score"] == 0.75


@dataclass(frozen=True)
class Refusal:
    """Arguments that leave open what to score, and words the refusal must hold."""

    name: str
    arguments: dict[str, Any]
    says: str
    options: dict[str, Any] = field(default_factory=dict)


REFUSALS = [
    Refusal("empty outputs", {"outputs": {}}, "no answer to score"),
    Refusal("no messages", {"outputs": {"messages": []}}, "no answer to score"),
    Refusal("several entries", {"outputs": {"a": "A", "b": "B"}}, "outputs holds 'a', 'b'.* pass output_key="),
    Refusal("two usual names", {"inputs": {"input": "A", "query": "B"}, "outputs": "A"}, "pass input_key="),
    Refusal("a missing key", {"outputs": {"a": "A"}}, "output_key is 'b', but outputs holds 'a'", {"output_key": "b"}),
    Refusal("a missing field", {"outputs": Talk("A")}, "outputs holds 'text', 'notes'", {"output_key": "answer"}),
    Refusal(
        "unclear fields", {"inputs": Letter("Q", "-"), "outputs": "A"}, "inputs holds 'text', 'sender'.*input_key="
    ),
    Refusal("a name for a list", {"outputs": [{"a": "A"}]}, "outputs is a list and has no", {"output_key": "a"}),
    Refusal("a missing context", {"outputs": "A"}, "context_key is 'docs'", {"context_key": "docs"}),
    Refusal("an unclear reference", {"outputs": "A", "reference_outputs": {"a": 1, "b": 2}}, "pass reference_key="),
    Refusal("only a tool call", {"outputs": AIMessage("", tool_calls=[CALL])}, "calls tools and says nothing"),
    Refusal("no text", {"outputs": object()}, "outputs holds a value of type object.* output_key="),
    Refusal("an unknown keyword", {"outputs": "A", "contxt": "C"}, "'contxt' is not part of an exchange"),
    Refusal("no history", {"outputs": "A", "history": "Hi"}, "history is a str"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_what_is_unclear_is_refused_and_not_scored(case: Refusal, client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """The refusal names the entry and the argument to pass; nothing is sent."""
    evaluator = create_pi_evaluator(SPEC, client=client, **case.options)
    with pytest.raises(PiUsageError, match=case.says):
        evaluator(**case.arguments)
    assert judge.asked == []


def test_long_json_stays_whole(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """Nothing is cut on the way."""
    answer = {"rows": list(range(5000))}
    create_pi_evaluator(SPEC, client=client)(outputs={"output": answer})
    assert judge.asked is not None
    assert json.loads(judge.asked[0][0].llm_output) == answer
