"""The calibration job: every exchange is scored once, a killed job continues, and bad input is refused or reported."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from pi_integrations.engine.calibration.work import calibration_work
from pi_integrations.engine.families import BUILDERS
from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.judges.scripted import ScriptedJudge
from pi_integrations.engine.scoring.code_questions import CodeRunner
from pi_integrations.engine.scoring.custom_models import CustomModels
from pi_integrations.engine.scoring.service import ScoreService, VerdictCache
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models.calibration import CalibrateRequest
from pi_integrations.models.families import CALIBRATE

SPEC = [{"question": "Is it right?", "label": "Right"}, {"question": "Is it kind?", "label": "Kind"}]


class InMemory:
    """A `Run` whose records outlive it: one of them can be given to a second run."""

    def __init__(self, answers: dict[str, str] | None = None, progress: Mapping[str, Any] | None = None) -> None:
        self.answers = answers if answers is not None else {}
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.job_id = "job-1"
        self.progress = progress

    async def rows(self) -> list[Any]:
        return []

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if key not in self.answers:
            self.asked.append(key)
            self.answers[key] = json.dumps(await call())
        return json.loads(self.answers[key])

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        self.messages.extend(messages)
        self.progress = progress if progress is not None else self.progress


def by_length(exchange: Exchange, question: str) -> float:
    """Right are the long answers; kind is everything alike."""
    return min(len(exchange.llm_output) / 100, 1.0) if "right" in question else 0.5


def a_service(judge: ScriptedJudge) -> ScoreService:
    return ScoreService(judge, CodeRunner(), CustomModels({}), VerdictCache(0), judge_timeout=10.0)


def a_request(count: int, **given: Any) -> CalibrateRequest:
    """Labels that follow the length of the answer, on a curve of their own."""
    examples = [
        {"llm_input": f"input {n}", "llm_output": "x" * (100 * n // count), "score": (n / count) ** 3}
        for n in range(count)
    ]
    return CalibrateRequest.model_validate({"scoring_spec": SPEC, "examples": examples, **given})


async def test_a_job_returns_a_calibrated_spec_with_its_figures() -> None:
    """Forty labels; the messages say how far it is, and what came of it."""
    judge, run = ScriptedJudge(by_length), InMemory()
    result = await calibration_work(a_service(judge)).work(a_request(40), run)
    assert result["calibrated"] is True
    assert [each["label"] for each in result["calibrated_scoring_spec"]] == ["Right", "Kind"]
    assert run.messages[:2] == ["Scored 20 of 40 exchanges", "Scored 40 of 40 exchanges"]
    assert run.messages[2] == result["report"]["summary"]
    json.dumps(result, allow_nan=False)


async def test_each_exchange_is_scored_once_and_never_again_after_a_crash() -> None:
    """Duplicates share a score; a second attempt asks for nothing that is recorded, and says nothing twice."""
    request = a_request(40)
    doubled = request.model_copy(update={"examples": [*request.examples, *request.examples]})
    judge, run = ScriptedJudge(by_length), InMemory()
    first = await calibration_work(a_service(judge)).work(doubled, run)
    assert judge.asked is not None and len(judge.asked) == 2 * 40
    again = InMemory(run.answers, run.progress)
    second = await calibration_work(a_service(ScriptedJudge(by_length))).work(doubled, again)
    assert (second, again.asked, again.messages) == (first, [], [])


async def test_a_judge_that_changes_under_way_ends_the_job() -> None:
    """Its scores cannot be compared with those that are recorded."""
    run = InMemory()
    await calibration_work(a_service(ScriptedJudge(by_length))).work(a_request(20), run)
    later = InMemory(run.answers, run.progress)
    other = calibration_work(a_service(ScriptedJudge(by_length, name="another")))
    with pytest.raises(JobStopped, match="the judge changed"):
        await other.work(a_request(40), later)


async def test_a_judge_that_cannot_answer_leaves_an_exchange_out() -> None:
    """It is counted, and never 0."""

    def refusing(exchange: Exchange, question: str) -> float | Verdict:
        if exchange.llm_input == "input 3":
            return Verdict.unscored("refused", method="scripted")
        return by_length(exchange, question)

    result = await calibration_work(a_service(ScriptedJudge(refusing))).work(a_request(40), InMemory())
    assert (result["report"]["computed_on"]["labels"], result["report"]["computed_on"]["left_out"]) == (39, 1)


async def test_failures_of_the_judge_that_pass_are_waited_out() -> None:
    """Of one question too: its score is not recorded as missing."""
    failed: set[str] = set()

    def flaky(exchange: Exchange, question: str) -> float | Verdict:
        if "kind" in question and exchange.llm_input == "input 3" and not failed:
            failed.add(exchange.llm_input)
            return Verdict.unscored("too many requests", method="scripted", retryable=True)
        return by_length(exchange, question)

    result = await calibration_work(a_service(ScriptedJudge(flaky))).work(a_request(20), InMemory())
    assert failed and result["report"]["computed_on"]["unscored"] == [0, 0]


async def test_a_judge_that_keeps_failing_ends_the_job() -> None:
    """With its reason, and nothing recorded."""
    down = ScriptedJudge(lambda exchange, question: Verdict.unscored("is down", method="scripted", retryable=True))
    run = InMemory()
    with pytest.raises(JobStopped, match=r"scoring kept failing for 0.1 s: .*is down"):
        await calibration_work(a_service(down), patience=0.1).work(a_request(20), run)
    assert run.answers == {} and run.messages == []


async def test_preferences_and_unlabelled_examples() -> None:
    """An example without a label is not scored; pairs are, each side once."""
    pairs = [{"llm_input": f"input {n}", "chosen": "x" * (50 + n), "rejected": "x" * n} for n in range(12)]
    body = {"scoring_spec": SPEC, "examples": [{"llm_input": "a", "llm_output": "b"}], "preference_examples": pairs}
    judge = ScriptedJudge(by_length)
    result = await calibration_work(a_service(judge)).work(CalibrateRequest.model_validate(body), InMemory())
    assert judge.asked is not None and len(judge.asked) == 2 * 24
    assert result["report"]["computed_on"]["pairs"] == 12


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "examples and preference_examples are both empty"),
        ({"examples": [{"llm_input": "a", "llm_output": "b", "score": 1.2}]}, "less than or equal to 1"),
        ({"examples": [{"llm_input": "a", "llm_output": "b", "score": float("nan")}]}, "finite"),
        ({"examples": [{"llm_input": "a", "llm_output": "b", "rating": "Great"}]}, "Strongly Agree"),
        ({"examples": [{"llm_input": "a"}]}, "Field required"),
        ({"examples": [{"llm_input": "a", "llm_output": "b", "score": 1}], "strategy": "BOTH"}, "LITE"),
    ],
)
def test_bad_input_is_refused_by_name(body: dict[str, Any], words: str) -> None:
    """Before anything is scored."""
    with pytest.raises(ValidationError, match=words):
        CalibrateRequest.model_validate({"scoring_spec": SPEC, **body})


@pytest.mark.parametrize(("rating", "score"), [("strongly disagree", 0.0), ("Neutral", 0.5), ("STRONGLY AGREE", 1.0)])
def test_ratings_are_read_in_any_case(rating: str, score: float) -> None:
    """The deprecated form of a label."""
    example = {"llm_input": "a", "llm_output": "b", "rating": rating}
    request = CalibrateRequest.model_validate({"scoring_spec": SPEC, "examples": [example]})
    assert request.examples[0].score == score


def test_an_engine_without_scipy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its families are built, not when a job fails."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    settings = EngineSettings(judge=ScriptedJudge(by_length))
    with pytest.raises(ImportError, match=r"needs scipy; run: pip install 'pi-integrations\[engine\]'"):
        BUILDERS[CALIBRATE.path](settings, a_service(ScriptedJudge(by_length)))


async def test_the_event_loop_stays_free_while_a_spec_is_fitted() -> None:
    """The fit runs in a thread."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await calibration_work(a_service(ScriptedJudge(by_length))).work(a_request(40), InMemory())
    ticking.cancel()
    assert ticks > 10
