"""`PiScoreMiddleware` in real agents: drafts, retries, the best one, errors, and what lands in the state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, Interrupt, interrupt
from live_models import calls_tool, look_up, says
from pydantic import BaseModel
from questions import CLEAR, POLITE

from pi_integrations import PiClient, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, PiScoreMiddleware
from pi_integrations.models import compose_llm_input
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, embedded

SPEC: list[dict[str, Any]] = [{"question": POLITE, "label": "Polite"}]
ASKED: Any = {"messages": [("user", "How long?")]}
TOTALS = {"bad": 0.1, "poor": 0.3, "better": 0.4, "good": 0.9}
NAME = "PiScoreMiddleware"
MODES: Any = pytest.mark.parametrize("mode", ["model_call", "after_agent"])
TWINS = pytest.mark.parametrize("twin", ["sync", "async"])


def by_word(exchange: Exchange, question: str) -> float:
    """The score of the word that an answer is, whatever the question."""
    return TOTALS.get(exchange.llm_output, 0.0)


@pytest.fixture
def judge() -> ScriptedJudge:
    return ScriptedJudge(by_word)


@pytest.fixture
def pi(judge: ScriptedJudge) -> Any:
    with embedded(judge=judge) as client:
        yield client


def run(agent: Any, twin: str, asked: Any = ASKED, config: Any = None) -> Any:
    """What the agent gives, sync or async."""
    return asyncio.run(agent.ainvoke(asked, config)) if twin == "async" else agent.invoke(asked, config)


def said(state: Any) -> list[str]:
    return [message.text for message in state["messages"]]


@TWINS
@MODES
def test_a_good_answer_goes_out_at_once(pi: PiClient, mode: Any, twin: str) -> None:
    """With its scores in the state."""
    model = says("good")
    state = run(create_agent(model, middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode)]), twin)
    assert said(state) == ["How long?", "good"]
    assert state["pi_scores"][NAME] == {
        "total_score": 0.9,
        "question_scores": {"Polite": 0.9},
        "passed": True,
        "drafts": 1,
        "error": None,
        "message_id": state["messages"][-1].id,
        "retry_error": None,
    }


@TWINS
@MODES
def test_a_low_draft_is_written_again_with_the_failing_questions(pi: PiClient, mode: Any, twin: str) -> None:
    """The model sees its draft and the texts of what fell short: no labels, no numbers."""
    model = says("bad", "good")
    state = run(create_agent(model, middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode)]), twin)
    assert said(state)[-1] == "good"
    *_, draft, note = model.asked[1]
    assert (draft.text, isinstance(note, HumanMessage)) == ("bad", True)
    assert POLITE in note.text
    assert "0.1" not in note.text
    assert state["pi_scores"][NAME]["drafts"] == 2


@TWINS
@MODES
def test_the_best_draft_goes_out_when_the_retries_are_exhausted(pi: PiClient, mode: Any, twin: str) -> None:
    """Not the last one; its own scores are reported."""
    model = says("poor", "better", "bad")
    state = run(create_agent(model, middleware=[PiScoreMiddleware(SPEC, client=pi, max_retries=2, mode=mode)]), twin)
    assert (said(state)[-1], len(model.asked)) == ("better", 3)
    report = state["pi_scores"][NAME]
    assert (report["total_score"], report["passed"], report["drafts"]) == (0.4, False, 3)
    assert report["message_id"] == state["messages"][-1].id


def test_rejected_drafts_stay_out_of_the_state_in_a_model_call(pi: PiClient) -> None:
    """And in the other mode they stay, up to the best."""
    inside = create_agent(says("bad", "good"), middleware=[PiScoreMiddleware(SPEC, client=pi)]).invoke(ASKED)
    assert said(inside) == ["How long?", "good"]
    middleware = PiScoreMiddleware(SPEC, client=pi, mode="after_agent")
    after = create_agent(says("bad", "good"), middleware=[middleware]).invoke(ASKED)
    assert [text for text in said(after) if POLITE not in text] == ["How long?", "bad", "good"]


@MODES
def test_retries_end_even_when_a_summary_takes_the_users_message_away(pi: PiClient, mode: Any) -> None:
    """The summary has a new id every time; the run's retries are counted all the same."""
    model = says(*["bad", calls_tool("bad")] * 20)
    summary = SummarizationMiddleware(model=says(*["summary"] * 20), trigger=("messages", 3), keep=("messages", 1))
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=2, mode=mode)
    create_agent(model, tools=[look_up], middleware=[summary, scoring]).invoke(ASKED, {"recursion_limit": 100})
    assert len(model.asked) == 5


def test_the_same_message_asked_again_is_answered_anew(pi: PiClient) -> None:
    """With all its retries, and not with the answer of the run before."""
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode="after_agent")
    agent = create_agent(says("poor", "bad", "better", "good"), middleware=[scoring], checkpointer=InMemorySaver())
    asked: Any = {"messages": [HumanMessage("How long?", id="h1")]}
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(asked, config)
    assert said(agent.invoke(asked, config))[-1] == "good"


def test_an_agent_gets_no_steps_that_the_mode_does_not_need(pi: PiClient) -> None:
    """LangChain adds one for every hook that a class has."""
    graphs = {}
    for mode in ("model_call", "after_agent"):
        middleware = PiScoreMiddleware(SPEC, client=pi, mode=mode)  # type: ignore[arg-type]
        assert isinstance(middleware, PiScoreMiddleware)
        graphs[mode] = set(create_agent(says(), middleware=[middleware]).get_graph().nodes)
    assert graphs["model_call"] == {"__start__", f"{NAME}.before_agent", "model", "__end__"}
    assert graphs["after_agent"] == graphs["model_call"] | {f"{NAME}.after_agent"}


def test_a_subclass_keeps_its_own_hooks(pi: PiClient) -> None:
    """Before those of the mode."""

    class Never(PiScoreMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return AIMessage("mine")

    state = create_agent(says(), middleware=[Never(SPEC, client=pi)]).invoke(ASKED)
    assert said(state)[-1] == "mine"


@TWINS
@MODES
def test_calls_of_tools_are_not_scored(pi: PiClient, judge: ScriptedJudge, mode: Any, twin: str) -> None:
    """The answer after them is, with what the tools returned as context."""
    model = says(calls_tool("One moment."), "good")
    middleware = PiScoreMiddleware(SPEC, client=pi, mode=mode)
    state = run(create_agent(model, tools=[look_up], middleware=[middleware]), twin)
    assert judge.asked == [
        (Exchange(compose_llm_input("How long?", contexts=["Repairs take a week."]), "good"), POLITE)
    ]
    assert state["pi_scores"][NAME]["passed"]


def test_the_system_prompt_and_earlier_turns_are_part_of_the_exchange(pi: PiClient, judge: ScriptedJudge) -> None:
    """As every adapter sends them."""
    agent = create_agent(says("good"), system_prompt="Be brief.", middleware=[PiScoreMiddleware(SPEC, client=pi)])
    agent.invoke({"messages": [("user", "Hi"), ("ai", "Hello!"), ("user", "How long?")]})
    history = [("user", "Hi"), ("assistant", "Hello!")]
    expected = compose_llm_input("How long?", system_prompt="Be brief.", history=history)
    assert judge.asked == [(Exchange(expected, "good"), POLITE)]


@MODES
def test_a_second_draft_is_scored_against_the_users_question(pi: PiClient, judge: ScriptedJudge, mode: Any) -> None:
    """Neither the note nor the first draft become part of the exchange, in this turn or the next."""
    middleware = PiScoreMiddleware(SPEC, client=pi, mode=mode)
    agent = create_agent(says("bad", "good", "good"), middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    agent.invoke({"messages": [("user", "Really?")]}, config)
    later = compose_llm_input("Really?", history=[("user", "How long?"), ("assistant", "good")])
    assert judge.asked is not None
    assert [exchange.llm_input for exchange, _ in judge.asked] == ["How long?", "How long?", later]


@MODES
def test_retries_count_per_message_of_the_user(pi: PiClient, mode: Any) -> None:
    """A retry that calls tools does not win new ones; the next message does."""
    model = says("bad", calls_tool(), "poor", "good", "bad", "good")
    middleware = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode=mode)
    agent = create_agent(model, tools=[look_up], middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    first = agent.invoke(ASKED, config)
    assert (said(first)[-1], len(model.asked)) == ("poor", 3)
    second = agent.invoke({"messages": [("user", "Really?")]}, config)
    assert said(second)[-1] == "good"
    third = agent.invoke({"messages": [("user", "Still?")]}, config)
    assert (said(third)[-1], len(model.asked)) == ("good", 6)


@TWINS
@MODES
def test_an_answer_that_cannot_be_scored_is_accepted(mode: Any, twin: str, caplog: pytest.LogCaptureFixture) -> None:
    """By default; the report says why, and the log says it once."""
    with embedded(judge=ScriptedJudge()) as client, caplog.at_level(logging.WARNING):
        middleware = PiScoreMiddleware(SPEC, client=client, mode=mode)
        for _ in range(3):
            state = run(create_agent(says("good"), middleware=[middleware]), twin)
    report = state["pi_scores"][NAME]
    assert (said(state)[-1], report["total_score"], report["passed"]) == ("good", None, False)
    assert "PiStatusError" in report["error"]
    assert len([record for record in caplog.records if record.name.startswith("pi_integrations")]) == 1


@MODES
def test_a_judge_that_hangs_holds_an_answer_up_no_longer_than_the_client_waits(mode: Any) -> None:
    """It goes out unscored."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=60.0), retry=RetryPolicy(total=0.3)) as client:
        agent = create_agent(says("good"), middleware=[PiScoreMiddleware(SPEC, client=client, mode=mode)])
        started = time.perf_counter()
        state = agent.invoke(ASKED)
    assert time.perf_counter() - started < 5.0
    assert (said(state)[-1], state["pi_scores"][NAME]["passed"]) == ("good", False)


@TWINS
@MODES
def test_an_answer_that_cannot_be_scored_raises_if_asked_for(mode: Any, twin: str) -> None:
    """The client's own error."""
    with embedded(judge=ScriptedJudge()) as client:
        middleware = PiScoreMiddleware(SPEC, client=client, on_score_error="raise", mode=mode)
        with pytest.raises(PiStatusError):
            run(create_agent(says("good"), middleware=[middleware]), twin)


@MODES
def test_a_scored_draft_is_better_than_one_that_could_not_be(mode: Any) -> None:
    """The second cannot be scored, and the first goes out."""

    def once(exchange: Exchange, _: str) -> float | Verdict:
        return 0.1 if exchange.llm_output == "bad" else Verdict.unscored("unreadable", method="scripted")

    with embedded(judge=ScriptedJudge(once)) as client:
        middleware = PiScoreMiddleware(SPEC, client=client, mode=mode)
        state = create_agent(says("bad", "good"), middleware=[middleware]).invoke(ASKED)
    assert (said(state)[-1], state["pi_scores"][NAME]["total_score"]) == ("bad", 0.1)


@MODES
def test_two_of_them_work_in_one_agent(pi: PiClient, mode: Any) -> None:
    """By two names; each writes its own report."""
    polite = PiScoreMiddleware(SPEC, client=pi, name="polite", threshold=0.2, mode=mode)
    clear = PiScoreMiddleware([{"question": CLEAR}], client=pi, name="clear", threshold=0.8, mode=mode)
    state = create_agent(says("bad", "poor", "good"), middleware=[polite, clear]).invoke(ASKED)
    assert said(state)[-1] == "good"
    assert {name: report["passed"] for name, report in state["pi_scores"].items()} == {"polite": True, "clear": True}


def test_the_two_modes_work_in_one_agent(pi: PiClient, judge: ScriptedJudge) -> None:
    """Neither takes the other's notes for the user's words; the engine knows an exchange that both ask about."""
    inside = PiScoreMiddleware(SPEC, client=pi, name="inside", threshold=0.2)
    after = PiScoreMiddleware(SPEC, client=pi, name="after", threshold=0.8, mode="after_agent")
    state = create_agent(says("bad", "poor", "good"), middleware=[inside, after]).invoke(ASKED)
    assert judge.asked is not None
    asked = [(exchange.llm_input, exchange.llm_output) for exchange, _ in judge.asked]
    assert asked == [("How long?", answer) for answer in ("bad", "poor", "good")]
    assert {name: report["total_score"] for name, report in state["pi_scores"].items()} == {"inside": 0.9, "after": 0.9}


@MODES
def test_two_of_one_name_are_refused_by_langchain(pi: PiClient, mode: Any) -> None:
    """Which is why the name is an argument."""
    with pytest.raises(AssertionError, match="duplicate"):
        create_agent(says(), middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode) for _ in range(2)])


@TWINS
def test_interrupts_pass_through(pi: PiClient, twin: str) -> None:
    """An inner middleware that asks a person, in the middle of a model call."""

    class AsksFirst(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("May I?")
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("May I?")
            return await handler(request)

    middleware: list[Any] = [PiScoreMiddleware(SPEC, client=pi, on_score_error="accept"), AsksFirst()]
    agent = create_agent(says("good"), middleware=middleware, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    assert run(agent, twin, ASKED, config)["__interrupt__"][0].value == "May I?"
    state = run(agent, twin, Command(resume=True), config)
    assert (said(state)[-1], state["pi_scores"][NAME]["passed"]) == ("good", True)


@TWINS
@MODES
def test_the_models_own_errors_pass_through(pi: PiClient, mode: Any, twin: str) -> None:
    """`on_score_error` is about scores."""

    class Broken(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            raise ConnectionError("no model")

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            raise ConnectionError("no model")

    with pytest.raises(ConnectionError, match="no model"):
        run(create_agent(says(), middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode), Broken()]), twin)


class Fails(AgentMiddleware[Any, Any, Any]):
    """A model that is down from its second call on, with an error of its own or another."""

    def __init__(self, error: BaseException | None = None, after: int = 1) -> None:
        super().__init__()
        self.error = error or ConnectionError("no model")
        self.left = after

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.check()
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        self.check()
        return await handler(request)


@TWINS
@MODES
def test_a_model_that_fails_on_a_retry_leaves_the_best_draft(
    pi: PiClient, mode: Any, twin: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The report says why there is no better one, and the log says it once."""
    scoring = PiScoreMiddleware(SPEC, client=pi, mode=mode)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            agent = create_agent(says("better", "poor"), middleware=[scoring, Fails(after=2)], tools=[look_up])
            state = run(agent, twin)
    report = state["pi_scores"][NAME]
    assert (said(state), report["message_id"]) == (["How long?", "better"], state["messages"][-1].id)
    assert (report["total_score"], report["drafts"], report["error"]) == (0.4, 2, None)
    assert report["retry_error"] == "ConnectionError: no model"
    (record,) = [record for record in caplog.records if record.name.startswith("pi_integrations")]
    assert "returned the best draft because" in record.getMessage()


@MODES
def test_a_model_that_fails_after_a_tool_on_a_retry_leaves_the_best_draft(pi: PiClient, mode: Any) -> None:
    """Though the agent would call it again and again."""
    middleware = [PiScoreMiddleware(SPEC, client=pi, mode=mode), Fails(after=2)]
    state = create_agent(says("better", calls_tool()), tools=[look_up], middleware=middleware).invoke(ASKED)
    report = state["pi_scores"][NAME]
    assert (said(state)[-1], report["message_id"]) == ("better", state["messages"][-1].id)
    assert (report["drafts"], report["retry_error"]) == (1, "ConnectionError: no model")


@MODES
def test_after_a_failed_retry_the_next_turn_begins_anew(pi: PiClient, mode: Any) -> None:
    """Its report knows nothing of the failure."""
    fails = Fails()
    scoring = PiScoreMiddleware(SPEC, client=pi, mode=mode)
    agent = create_agent(says("poor", "good"), middleware=[scoring, fails], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    assert agent.invoke(ASKED, config)["pi_scores"][NAME]["retry_error"] is not None
    fails.left = 10
    state = agent.invoke({"messages": [("user", "Really?")]}, config)
    report = state["pi_scores"][NAME]
    assert (said(state)[-1], report["drafts"], report["retry_error"]) == ("good", 1, None)


@TWINS
@MODES
def test_what_is_no_failure_of_the_model_passes_through_a_retry(pi: PiClient, mode: Any, twin: str) -> None:
    """A score that an inner one was told to raise; an interrupt."""
    inner = Fails(PiUsageError("no score"))
    with pytest.raises(PiUsageError, match="no score"):
        run(create_agent(says("poor"), middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode), inner]), twin)
    asks = Fails(GraphInterrupt([Interrupt("May I?")]))
    middleware = [PiScoreMiddleware(SPEC, client=pi, mode=mode), asks]
    config: Any = {"configurable": {"thread_id": "1"}}
    agent = create_agent(says("poor"), middleware=middleware, checkpointer=InMemorySaver())
    assert run(agent, twin, ASKED, config)["__interrupt__"][0].value == "May I?"


@TWINS
@MODES
def test_a_retry_that_calls_tools_does_not_lose_the_best_draft(pi: PiClient, mode: Any, twin: str) -> None:
    """It goes out when what comes after the tools is worse."""
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode=mode)
    model = says("better", calls_tool(), "bad")
    state = run(create_agent(model, tools=[look_up], middleware=[scoring]), twin)
    report = state["pi_scores"][NAME]
    assert (said(state)[-1], report["message_id"]) == ("better", state["messages"][-1].id)
    assert (report["total_score"], report["drafts"], len(model.asked)) == (0.4, 2, 3)


@MODES
def test_the_best_draft_survives_an_interrupt_of_the_tools(pi: PiClient, mode: Any) -> None:
    """It is in the checkpoint, and gone from there when the agent has answered."""
    scoring = PiScoreMiddleware(SPEC, client=pi, max_retries=1, mode=mode)
    model = says("better", calls_tool(), "bad")
    agent = create_agent(
        model, tools=[look_up], middleware=[scoring], checkpointer=InMemorySaver(), interrupt_before=["tools"]
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    assert said(agent.invoke(None, config))[-1] == "better"
    assert agent.get_state(config).values["pi_retries"][NAME]["held"] is None


def test_model_calls_count_for_a_limit_only_after_the_agent(pi: PiClient) -> None:
    """Inside a model call, `max_retries` alone limits."""
    calls = {}
    for mode in ("model_call", "after_agent"):
        model = says("bad", "bad", "good")
        middleware: list[Any] = [PiScoreMiddleware(SPEC, client=pi, mode=mode), ModelCallLimitMiddleware(run_limit=2)]  # type: ignore[arg-type]
        create_agent(model, middleware=middleware).invoke(ASKED)
        calls[mode] = len(model.asked)
    assert calls == {"model_call": 3, "after_agent": 2}


async def test_tokens_of_rejected_drafts_are_streamed(pi: PiClient) -> None:
    """As documented; the state that is streamed holds the accepted one alone."""
    agent = create_agent(says("bad", "good"), middleware=[PiScoreMiddleware(SPEC, client=pi)])
    tokens = [chunk.text async for chunk, _ in agent.astream(ASKED, stream_mode="messages")]
    assert {"bad", "good"} <= set(tokens)
    agent = create_agent(says("bad", "good"), middleware=[PiScoreMiddleware(SPEC, client=pi)])
    states = [state async for state in agent.astream(ASKED, stream_mode="values")]
    assert {text for state in states for text in said(state)} == {"How long?", "good"}


def test_after_an_agent_streamed_states_show_rejected_drafts(pi: PiClient) -> None:
    """As documented: only the state at the end is without those that are worse than the best."""
    for mode in ("values", "updates"):
        agent = create_agent(says("bad", "good"), middleware=[PiScoreMiddleware(SPEC, client=pi, mode="after_agent")])
        assert "content='bad'" in str(list(agent.stream(ASKED, stream_mode=mode)))  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", ["values", "updates"])
def test_what_is_remembered_between_drafts_can_be_kept_out_of_streams(pi: PiClient, mode: str) -> None:
    """As documented: by `output_keys`."""
    model = says("better", calls_tool(), "good")
    agent = create_agent(model, tools=[look_up], middleware=[PiScoreMiddleware(SPEC, client=pi)])
    streamed = str(list(agent.stream(ASKED, stream_mode=mode, output_keys=["messages", "pi_scores"])))  # type: ignore[call-overload]
    assert "content='good'" in streamed
    assert "better" not in streamed


@pytest.mark.parametrize("unfinished", [ToolMessage("good", tool_call_id="1"), HumanMessage("Hm")])
def test_after_an_agent_that_gave_no_answer_nothing_is_scored(
    pi: PiClient, judge: ScriptedJudge, unfinished: Any
) -> None:
    """It ended in a tool, or before the model spoke."""

    class Ends(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request)

        def after_model(self, state: Any, runtime: Any) -> Any:
            return {"messages": [unfinished]}

    middleware: list[Any] = [PiScoreMiddleware(SPEC, client=pi, mode="after_agent"), Ends()]
    create_agent(says("good"), middleware=middleware).invoke(ASKED)
    assert judge.asked == []


def test_a_structured_answer_is_scored_as_json(pi: PiClient, judge: ScriptedJudge) -> None:
    """Though it came as a call of a tool."""

    class Reply(BaseModel):
        days: int

    judge._script = {POLITE: 0.9}
    reply = AIMessage("", tool_calls=[{"name": "Reply", "args": {"days": 7}, "id": "1"}])
    middleware = PiScoreMiddleware(SPEC, client=pi)
    state = create_agent(says(reply), response_format=ToolStrategy(Reply), middleware=[middleware]).invoke(ASKED)
    assert judge.asked == [(Exchange("How long?", '{"days":7}'), POLITE)]
    assert (state["structured_response"], state["pi_scores"][NAME]["passed"]) == (Reply(days=7), True)


def test_what_the_model_is_told_can_be_chosen(pi: PiClient, judge: ScriptedJudge) -> None:
    """A function of the questions that scored low, those without weight left out."""
    judge._script = lambda exchange, question: 0.9 if (exchange.llm_output, question) == ("good", POLITE) else 0.1

    def feedback(failing: Sequence[str]) -> str:
        return f"Mind: {', '.join(failing)}"

    spec = [*SPEC, {"question": CLEAR, "weight": 0}]
    model = says("bad", "good")
    create_agent(model, middleware=[PiScoreMiddleware(spec, client=pi, feedback=feedback)]).invoke(ASKED)
    assert model.asked[1][-1].text == f"Mind: {POLITE}"


def test_dimension_specs_name_their_questions(pi: PiClient) -> None:
    """By description, as flat specs by question."""
    leaves = [{"label": "Polite", "description": POLITE}]
    model = says("bad", "good")
    spec = {"dimensions": [{"label": "Tone", "sub_dimensions": leaves}]}
    state = create_agent(model, middleware=[PiScoreMiddleware(spec, client=pi)]).invoke(ASKED)
    assert POLITE in model.asked[1][-1].text
    assert state["pi_scores"][NAME]["question_scores"] == {"Tone / Polite": 0.9}


@MODES
def test_one_middleware_serves_many_threads_at_once(pi: PiClient, mode: Any) -> None:
    """Nothing of one conversation is in another."""
    middleware = PiScoreMiddleware(SPEC, client=pi, mode=mode)

    def talk(number: int) -> str:
        state = run(create_agent(says("bad", "good"), middleware=[middleware]), ("sync", "async")[number % 2])
        return f"{said(state)[-1]} {state['pi_scores'][NAME]['drafts']}"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(talk, range(32))) == {"good 2"}


@MODES
def test_live_scoring_of_a_guarded_agent_gives_one_score(pi: PiClient, mode: Any) -> None:
    """For the user's question and the accepted answer; the middleware's own scores are no runs."""
    sink = MemorySink()
    with BackgroundScorer(SPEC, client=pi, sink=sink) as scorer:
        handler = PiScoreCallbackHandler(scorer)
        agent = create_agent(says("bad", "good"), middleware=[PiScoreMiddleware(SPEC, client=pi, mode=mode)])
        agent.invoke(ASKED, {"callbacks": [handler]})
        scorer.flush(10)
    assert [(score.llm_input, score.llm_output) for score in sink.scores] == [("How long?", "good")]
    assert (handler.counts().runs, handler.counts().submitted) == (1, 1)


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"on_score_error": "ignore"}, "on_score_error is 'ignore'"),
        ({"mode": "before_agent"}, "mode is 'before_agent'"),
        ({"scoring_spec": []}, "scoring_spec: is empty"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says_what: str) -> None:
    """When it is made."""
    with pytest.raises(PiUsageError, match=says_what):
        PiScoreMiddleware(**{"scoring_spec": SPEC, **options})
