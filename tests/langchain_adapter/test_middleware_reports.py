"""`PiScoreMiddleware`: reports describe the answer that went out, and only the model's answers are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelCallLimitMiddleware,
    ModelResponse,
    PIIMiddleware,
    ToolCallLimitMiddleware,
    hook_config,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from live_models import calls_tool, look_up, says
from pydantic import BaseModel
from questions import CLEAR, POLITE

from pi_integrations import PiClient
from pi_integrations.background import BackgroundScorer
from pi_integrations.langchain import PiScoreCallbackHandler, PiScoreMiddleware
from pi_integrations.langchain.feedback_messages import FEEDBACK_MARK, without_feedback
from pi_integrations.testing import Exchange, ScriptedJudge, embedded

SPEC: list[dict[str, Any]] = [{"question": POLITE}]
ASKED: Any = {"messages": [("user", "How long?")]}
NAME = "PiScoreMiddleware"
MODES: Any = pytest.mark.parametrize("mode", ["model_call", "after_agent"])
SCORES = {
    "bad": {POLITE: 0.1, CLEAR: 0.1},
    "poor": {POLITE: 0.3, CLEAR: 0.3},
    "polite": {POLITE: 0.9, CLEAR: 0.2},
    "clear": {POLITE: 0.2, CLEAR: 0.9},
    "clear enough": {POLITE: 0.3, CLEAR: 0.8},
    '{"days":7}': {POLITE: 0.1, CLEAR: 0.1},
    '{"days": 7}': {POLITE: 0.3, CLEAR: 0.3},
    '{"days": 8}': {POLITE: 0.1, CLEAR: 0.1},
    "good": {POLITE: 0.9, CLEAR: 0.9},
}


def by_answer(exchange: Exchange, question: str) -> float:
    """The score of the answer for the question."""
    return SCORES.get(exchange.llm_output, {}).get(question, 0.0)


@pytest.fixture
def judge() -> ScriptedJudge:
    return ScriptedJudge(by_answer)


@pytest.fixture
def pi(judge: ScriptedJudge) -> Iterator[PiClient]:
    with embedded(judge=judge) as client:
        yield client


class Days(BaseModel):
    """A structured answer."""

    days: int


@tool("look_up", return_direct=True)
def reply_directly(what: str) -> str:
    """Replies to the user."""
    return f"{what.capitalize()} take a week."


def polite(pi: PiClient, **options: Any) -> PiScoreMiddleware:
    return PiScoreMiddleware(SPEC, client=pi, name="polite", **options)


def clear(pi: PiClient, **options: Any) -> PiScoreMiddleware:
    return PiScoreMiddleware([{"question": CLEAR}], client=pi, name="clear", **options)


def said(state: Any) -> list[str]:
    return [message.text for message in state["messages"]]


def totals(state: Any) -> dict[str, float]:
    """Of each report, all of which are about the last message."""
    assert {report["message_id"] for report in state["pi_scores"].values()} <= {state["messages"][-1].id}
    return {name: report["total_score"] for name, report in state["pi_scores"].items()}


def scored(judge: ScriptedJudge) -> list[str]:
    """The answers that the judge was asked about."""
    return [exchange.llm_output for exchange, _ in judge.asked or []]


# Of several middlewares in one agent


@pytest.mark.parametrize("twin", ["sync", "async"])
async def test_inside_another_the_report_is_about_the_draft_that_the_outer_one_chose(pi: PiClient, twin: str) -> None:
    """Not about the last one, also three deep."""
    middleware = [polite(pi, max_retries=1), clear(pi), PiScoreMiddleware(SPEC, client=pi, threshold=0.0)]
    agent = create_agent(says("clear enough", "clear"), middleware=middleware)
    state = await agent.ainvoke(ASKED) if twin == "async" else agent.invoke(ASKED)
    assert said(state)[-1] == "clear enough"
    assert totals(state) == {"polite": 0.3, "clear": 0.8, NAME: 0.3}


def test_every_draft_of_the_outer_one_gives_the_inner_one_all_its_retries(pi: PiClient) -> None:
    """As documented: the calls of the model multiply."""
    model = says(*["bad"] * 10)
    create_agent(model, middleware=[polite(pi, max_retries=1), clear(pi, max_retries=1)]).invoke(ASKED)
    assert len(model.asked) == 4


def test_after_an_agent_each_report_is_about_the_draft_that_was_chosen(pi: PiClient) -> None:
    """Also of a middleware inside the model call, and of one whose turn came before."""
    middleware = [polite(pi, max_retries=1, mode="after_agent"), clear(pi, max_retries=0)]
    state = create_agent(says("clear enough", "clear"), middleware=middleware).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("clear enough", {"polite": 0.3, "clear": 0.8})
    middleware = [polite(pi, max_retries=1, mode="after_agent"), clear(pi, max_retries=0, mode="after_agent")]
    state = create_agent(says("clear enough", "clear"), middleware=middleware).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("clear enough", {"polite": 0.3, "clear": 0.8})


def test_the_reports_of_a_draft_come_back_with_it(pi: PiClient) -> None:
    """Where the agent went on to call a tool, and was stopped before it wrote another."""
    scoring = polite(pi, max_retries=2, mode="after_agent"), clear(pi, max_retries=0)
    limit: Any = ModelCallLimitMiddleware(run_limit=2)
    model = says("clear", calls_tool(), "good")
    state = create_agent(model, tools=[look_up], middleware=[*scoring, limit]).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("clear", {"polite": 0.2, "clear": 0.9})
    assert {report["drafts"] for report in state["pi_scores"].values()} == {1}


def test_a_draft_that_another_one_chose_is_still_the_models(pi: PiClient) -> None:
    """An earlier draft than the last, chosen inside the model call or after the agent."""
    for mode in ("model_call", "after_agent"):
        chooses, scores = polite(pi, max_retries=1, mode=mode), clear(pi, max_retries=0, mode="after_agent")
        middleware = [chooses, scores] if mode == "model_call" else [scores, chooses]
        state = create_agent(says("clear enough", "clear"), middleware=middleware).invoke(ASKED)
        assert (said(state)[-1], totals(state)) == ("clear enough", {"polite": 0.3, "clear": 0.8})


@pytest.mark.parametrize(
    ("drafts", "retries", "threshold", "best"),
    [
        (("poor", "clear enough", "bad", "bad"), 1, 0.8, 0.3),
        (("bad", "poor", "bad", "bad"), 2, 0.8, 0.3),
        (("poor", "good", "bad", "bad"), 1, 0.95, 0.9),
    ],
)
def test_after_an_agent_neither_of_two_loses_the_best_draft(
    pi: PiClient, drafts: tuple[str, ...], retries: int, threshold: float, best: float
) -> None:
    """Also one that the first of them had accepted, and the second sent back."""
    outer = PiScoreMiddleware(
        SPEC, client=pi, name="outer", threshold=threshold, max_retries=retries, mode="after_agent"
    )
    inner = PiScoreMiddleware(SPEC, client=pi, name="inner", threshold=0.8, max_retries=1, mode="after_agent")
    state = create_agent(says(*drafts, "bad"), middleware=[outer, inner]).invoke(ASKED)
    assert totals(state) == {"outer": best, "inner": best}


def test_after_an_agent_of_two_a_failed_retry_counts_as_no_draft(pi: PiClient) -> None:
    """For neither, and the best draft goes out."""

    class Down(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            if any(FEEDBACK_MARK in message.additional_kwargs for message in request.messages):
                raise ConnectionError("no model")
            return handler(request)

    middleware: list[Any] = [polite(pi, max_retries=1, mode="after_agent"), clear(pi, mode="after_agent"), Down()]
    state = create_agent(says("clear"), middleware=middleware).invoke(ASKED)
    assert (said(state), totals(state)) == (["How long?", "clear"], {"polite": 0.2, "clear": 0.9})
    assert {report["drafts"] for report in state["pi_scores"].values()} == {1}


def test_a_report_that_another_middleware_lost_is_not_that_of_another_draft(pi: PiClient) -> None:
    """One between two of these that makes a new response leaves the inner one without a report at the worst."""

    class Rebuilds(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return ModelResponse(result=handler(request).result)

    middleware: list[Any] = [polite(pi, max_retries=1), Rebuilds(), clear(pi, max_retries=0)]
    state = create_agent(says("clear enough", "clear"), middleware=middleware).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("clear enough", {"polite": 0.3})
    state = create_agent(says("clear", "clear enough"), middleware=middleware).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("clear enough", {"polite": 0.3, "clear": 0.8})


# Structured answers


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_an_invalid_structured_answer_on_a_retry_leaves_the_best_one(pi: PiClient, strategy: Any) -> None:
    """Which LangChain has told the model about, or raises."""

    def draft(days: Any) -> Any:
        if strategy is ProviderStrategy:
            return f'{{"days":{days}}}'
        return AIMessage("", tool_calls=[{"name": "Days", "args": {"days": days}, "id": f"call-{days}"}])

    model = says(draft(7), draft("many"), draft(8))
    middleware = PiScoreMiddleware(SPEC, client=pi, max_retries=1)
    state = create_agent(model, response_format=strategy(Days), middleware=[middleware]).invoke(ASKED)
    assert state["structured_response"] == Days(days=7)
    assert state["pi_scores"][NAME]["total_score"] == 0.1
    assert state["pi_scores"][NAME]["message_id"] in {message.id for message in state["messages"]}


def test_the_report_of_a_structured_answer_names_the_models_message(pi: PiClient) -> None:
    """LangChain's note after it gets its id only later."""
    reply = AIMessage("", tool_calls=[{"name": "Days", "args": {"days": 7}, "id": "1"}])
    middleware = PiScoreMiddleware(SPEC, client=pi, max_retries=0)
    state = create_agent(says(reply), response_format=ToolStrategy(Days), middleware=[middleware]).invoke(ASKED)
    assert state["pi_scores"][NAME]["message_id"] == state["messages"][1].id is not None


@dataclass
class Due:
    """A structured answer that is no model, and whose field is no JSON."""

    day: date


def gives(**arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "Due", "args": arguments, "id": "1"}])


def test_a_structured_answer_of_any_kind_is_scored_as_json(pi: PiClient, judge: ScriptedJudge) -> None:
    """In the model call, and of live traffic."""
    middleware = PiScoreMiddleware(SPEC, client=pi, max_retries=0)
    agent = create_agent(says(gives(day="2026-01-31")), response_format=ToolStrategy(Due), middleware=[middleware])
    with BackgroundScorer(SPEC, client=pi) as scorer:
        state = agent.invoke(ASKED, {"callbacks": [PiScoreCallbackHandler(scorer)]})
        scorer.flush(10)
        (live,) = scorer.sink.scores
    assert state["structured_response"] == Due(date(2026, 1, 31))
    assert {*scored(judge), live.llm_output} == {'{"day":"2026-01-31"}'}


def test_a_structured_answer_that_cannot_be_written_is_accepted_unscored(pi: PiClient) -> None:
    """As one that cannot be scored: the agent goes on."""

    class Replaces(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return ModelResponse(result=[AIMessage("good")], structured_response=object())

    state = create_agent(says(), middleware=[PiScoreMiddleware(SPEC, client=pi), Replaces()]).invoke(ASKED)
    assert "cannot be written as JSON" in state["pi_scores"][NAME]["error"]


def test_after_an_agent_the_structured_response_is_that_of_the_best_draft(pi: PiClient) -> None:
    """Where the provider writes it as the message's text."""
    middleware = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode="after_agent")
    agent = create_agent(
        says('{"days": 7}', '{"days": 8}'), response_format=ProviderStrategy(Days), middleware=[middleware]
    )
    state = agent.invoke(ASKED)
    assert (said(state)[-1], state["structured_response"]) == ('{"days": 7}', Days(days=7))


# Reports of other turns


@MODES
def test_a_turn_that_a_tool_answered_has_no_report(pi: PiClient, mode: Any) -> None:
    """Not the one of the turn before."""
    middleware = PiScoreMiddleware(SPEC, client=pi, mode=mode)
    agent = create_agent(
        says("good", calls_tool()), tools=[reply_directly], middleware=[middleware], checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    assert agent.invoke(ASKED, config)["pi_scores"][NAME]["passed"]
    state = agent.invoke({"messages": [("user", "And repairs?")]}, config)
    assert (said(state)[-1], state["pi_scores"]) == ("Repairs take a week.", {})


@MODES
def test_a_turn_without_a_call_of_the_model_has_no_report(pi: PiClient, judge: ScriptedJudge, mode: Any) -> None:
    """And what the limit says is no draft."""
    middleware: list[Any] = [PiScoreMiddleware(SPEC, client=pi, mode=mode), ModelCallLimitMiddleware(thread_limit=1)]
    agent = create_agent(says("good"), middleware=middleware, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    state = agent.invoke({"messages": [("user", "Really?")]}, config)
    assert "limits exceeded" in said(state)[-1]
    assert state["pi_scores"] == {}
    assert scored(judge) == ["good"]


# What the model did not write


def test_a_limit_reached_on_a_retry_leaves_the_best_draft(pi: PiClient, judge: ScriptedJudge) -> None:
    """What the limit says is neither scored nor left behind it."""
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=5, mode="after_agent")
    state = create_agent(says("poor", "bad"), middleware=[scoring, ModelCallLimitMiddleware(run_limit=2)]).invoke(ASKED)
    assert (said(state), totals(state)) == (["How long?", "poor"], {NAME: 0.3})
    assert (state["pi_scores"][NAME]["drafts"], scored(judge)) == (2, ["poor", "bad"])


def test_a_limit_of_tool_calls_is_no_draft(pi: PiClient, judge: ScriptedJudge) -> None:
    """It comes after the model's message, in place of an answer."""
    limit: Any = ToolCallLimitMiddleware(run_limit=1, exit_behavior="end")
    scoring = PiScoreMiddleware(SPEC, client=pi, mode="after_agent")
    model = says(calls_tool(), calls_tool(call_id="call-2"), "good")
    state = create_agent(model, tools=[look_up], middleware=[scoring, limit]).invoke(ASKED)
    assert "limit" in said(state)[-1]
    assert (len(model.asked), scored(judge), state["pi_scores"]) == (2, [], {})


@pytest.mark.parametrize("hook", ["before_agent", "before_model", "after_model"])
def test_a_guardrail_is_not_overruled(pi: PiClient, judge: ScriptedJudge, hook: str) -> None:
    """A refusal that another middleware put there is not scored, and the model not asked again."""

    @hook_config(can_jump_to=["end"])
    def refuse(self: Any, state: Any, runtime: Any) -> Any:
        return {"messages": [AIMessage("I cannot help with that.")], "jump_to": "end"}

    guardrail = type("Guardrail", (AgentMiddleware,), {hook: refuse})()
    model = says("good", "good")
    scoring = PiScoreMiddleware(SPEC, client=pi, mode="after_agent")
    state = create_agent(model, middleware=[scoring, guardrail]).invoke(ASKED)
    assert said(state)[-1] == "I cannot help with that."
    assert (scored(judge), state["pi_scores"]) == ([], {})
    assert len(model.asked) == (1 if hook == "after_model" else 0)


def test_an_answer_that_was_redacted_is_still_the_models(pi: PiClient, judge: ScriptedJudge) -> None:
    """And is scored as the user sees it."""
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=0, mode="after_agent")
    redacting: Any = PIIMiddleware("email", apply_to_output=True)
    create_agent(says("Write to a@example.com"), middleware=[scoring, redacting]).invoke(ASKED)
    assert scored(judge) == ["Write to [REDACTED_EMAIL]"]


def test_an_answer_without_an_id_is_scored(pi: PiClient) -> None:
    """As another middleware may give it in the model's place."""

    class Canned(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return AIMessage("good")

    scoring = PiScoreMiddleware(SPEC, client=pi, mode="after_agent")
    assert totals(create_agent(says(), middleware=[scoring, Canned()]).invoke(ASKED)) == {NAME: 0.9}


# Drafts that are gone


def test_when_the_best_draft_is_gone_the_answer_that_is_there_goes_out(pi: PiClient) -> None:
    """With its own report; a summary, for one, takes messages away."""

    class Forgets(AgentMiddleware[Any, Any, Any]):
        def before_model(self, state: Any, runtime: Any) -> Any:
            drafts = [message for message in state["messages"] if isinstance(message, AIMessage)]
            return {"messages": [RemoveMessage(id=str(message.id)) for message in drafts]}

    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode="after_agent")
    state = create_agent(says("poor", "bad"), middleware=[scoring, Forgets()]).invoke(ASKED)
    assert (said(state)[-1], totals(state)) == ("bad", {NAME: 0.1})


def test_a_summary_in_the_place_of_a_draft_stays_part_of_the_conversation() -> None:
    """Drafts go with their notes, and nothing else does."""
    asked, note = HumanMessage("How long?"), HumanMessage("Again.", additional_kwargs={FEEDBACK_MARK: NAME})
    summary, answer = SystemMessage("They asked how long."), AIMessage("good")
    reply = [calls_tool(), ToolMessage("7", tool_call_id="call-1")]
    assert without_feedback([asked, AIMessage("bad"), note, answer]) == [asked, answer]
    assert without_feedback([asked, *reply, note, answer]) == [asked, answer]
    assert without_feedback([summary, note, answer]) == [summary, answer]
