"""`PiDecisionModel` on langchain-core 1.8, alone and in LangChain's own middleware; and what it says without it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from questions import POLITE

from pi_integrations import PiClient, PiStatusError, PiUsageError
from pi_integrations.langchain import PiDecisionModel
from pi_integrations.testing import Exchange, ScriptedJudge, embedded

HAS_DECISIONS = find_spec("langchain_core.decisions") is not None
needs_decisions = pytest.mark.skipif(not HAS_DECISIONS, reason="langchain_core.decisions came with langchain-core 1.8")


@pytest.fixture
def judge() -> ScriptedJudge:
    return ScriptedJudge({POLITE: 0.9, "Is it urgent?\nYes means: today\nNo means: later": 0.2})


@pytest.fixture
def pi(judge: ScriptedJudge) -> Any:
    with embedded(judge=judge) as client:
        yield client


@pytest.mark.skipif(HAS_DECISIONS, reason="this langchain-core has decisions")
def test_an_older_langchain_core_is_one_clear_error() -> None:
    """When a model is made."""
    with pytest.raises(ImportError, match=r"pip install 'langchain-core>=1\.8'"):
        PiDecisionModel()


@needs_decisions
async def test_yes_no_questions_get_their_scores(pi: PiClient, judge: ScriptedJudge) -> None:
    """All in one request, criteria included; typed and raw questions, sync, async and batched."""
    from langchain_core.decisions import Noul, NoulCriteria

    model = PiDecisionModel(client=pi)
    urgent = Noul(instructions="Is it urgent?", criteria=NoulCriteria(true="today", false="later"))
    request: Any = {"state": "Help!", "questions": {"p": {"type": "noul", "instructions": POLITE}, "u": urgent}}
    responses = [model.invoke(request), await model.ainvoke(request), *model.batch([request])]
    assert [{key: answer.noul for key, answer in each.nouls.items()} for each in responses] == [
        {"p": 0.9, "u": 0.2}
    ] * 3
    assert judge.asked is not None
    assert {exchange for exchange, _ in judge.asked} == {Exchange("", "Help!")}
    assert (responses[0].model, responses[0].usage) == ("pi", None)


@needs_decisions
def test_other_questions_are_refused(pi: PiClient) -> None:
    """By name and kind, before anything is scored."""
    from langchain_core.decisions import Choice, Score

    model = PiDecisionModel(client=pi)
    for question, kind in (
        (Choice(instructions="Which?", criteria={"a": None}), "choice"),
        (Score(instructions="How?", criteria=["low", "high"]), "score"),
        ({"type": "box", "instructions": "Where?"}, "box"),
    ):
        with pytest.raises(PiUsageError, match=f"question 'q' is a {kind}; .*Noul"):
            model.invoke({"state": "S", "questions": {"q": question}})
    with pytest.raises(PiUsageError, match="instructions"):
        model.invoke({"state": "S", "questions": {"q": {"type": "noul"}}})
    with pytest.raises(PiUsageError, match="empty"):
        model.invoke({"state": "S", "questions": {}})


@needs_decisions
def test_a_question_without_a_usable_answer_is_an_error(pi: PiClient) -> None:
    """Never a probability."""
    from langchain_core.decisions import Noul

    with pytest.raises(PiStatusError):
        PiDecisionModel(client=pi).invoke({"state": "S", "questions": {"q": Noul(instructions="Unknown?")}})


@needs_decisions
def test_its_client_is_checked_and_stays_out_of_dumps(pi: PiClient) -> None:
    """And so does its key."""
    assert "PiClient" not in repr(PiDecisionModel(client=pi)) + PiDecisionModel(client=pi).model_dump_json()
    with pytest.raises(PiUsageError, match="client is a str"):
        PiDecisionModel(client="http://localhost")
    with pytest.raises(PiUsageError, match="WITHPI_API_KEY"):
        PiDecisionModel().invoke({"state": "S", "questions": {"q": {"type": "noul", "instructions": POLITE}}})


@needs_decisions
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize(("risk", "outcome"), [(0.9, "blocked"), (0.1, "Repairs take a week.")])
async def test_langchains_own_middleware_takes_it(risk: float, outcome: str) -> None:
    """`AutoModeMiddleware` blocks the tools that it finds risky."""
    from langchain.agents import create_agent
    from langchain.agents.middleware import AutoModeMiddleware
    from live_models import calls_tool, look_up, says

    with embedded(judge=ScriptedJudge(default=risk)) as client:
        gate = AutoModeMiddleware(classifier=PiDecisionModel(client=client), tools=["look_up"])
        agent: Any = create_agent(says(calls_tool(), "Done."), tools=[look_up], middleware=[gate])
        state = await agent.ainvoke({"messages": [("user", "How long?")]})
    assert outcome in state["messages"][2].text
