"""`POST /scoring_system/score` on the real engine: shapes, means, curves, policies, provenance."""

from __future__ import annotations

from typing import Any

import pytest
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models import Usage
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, embedded

RECORDED = [
    ([0.8789, 0.4277, 0.5, 1, 0.334, 0.6172], [0.5, 0.5, 0.5, 0.5, 0.3, 0.3], 0.6043),
    ([0.051, 0.9922, 0.9297, 1, 0.7578, 0.9414], [0.5, 0.5, 0.5, 0.5, 0.3, 0.3], 0.5344),
    ([0, 0.9258, 0.9883], [1, 1, 1], 0.2092),
    ([0.7695, 0.7969, 0.6523], [1, 1, 1], 0.7368),
]


async def score(client: AsyncPiClient, spec: Any, **given: Any) -> Any:
    return await client.scoring_system.score(llm_input="Hi", llm_output="Hello!", scoring_spec=spec, **given)


@pytest.mark.parametrize(("scores", "weights", "total"), RECORDED)
async def test_totals_the_service_recorded_are_reproduced(
    scores: list[float], weights: list[float], total: float
) -> None:
    """Recorded inputs are rounded, hence the tolerance of 1.5e-4."""
    judge = ScriptedJudge({f"q{i}": value for i, value in enumerate(scores)})
    spec = [{"question": f"q{i}", "weight": weight} for i, weight in enumerate(weights)]
    async with embedded(judge=judge) as client:
        result = await score(client, spec)
    assert result.total_score == pytest.approx(total, abs=1.5e-4)


async def test_scores_are_keyed_by_label_or_text_and_reported_raw(client: AsyncPiClient) -> None:
    """A curve acts on the total alone: sqrt(curved .9 = .75, times .4)."""
    spec = [{"question": POLITE, "label": "polite", "parameters": [0.5, 0.8, 0.9]}, {"question": CLEAR}]
    result = await score(client, spec)
    assert result.question_scores == {"polite": 0.9, CLEAR: 0.4}
    assert result.total_score == pytest.approx((0.75 * 0.4) ** 0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("method", "total"),
    [(None, 0.6), ("geometric_mean", 0.6), ("ARITHMETIC_MEAN", 0.65), ("Harmonic_Mean", 2 / (1 / 0.9 + 1 / 0.4))],
)
async def test_every_mean_in_either_case(client: AsyncPiClient, method: str | None, total: float) -> None:
    """sqrt(.9 × .4) = .6; (.9 + .4) / 2 = .65; 2 / (1/.9 + 1/.4) = .5538."""
    result = await score(client, [{"question": POLITE}, {"question": CLEAR}], aggregation_method=method)
    assert result.total_score == pytest.approx(total, abs=1e-4)


async def test_a_weight_of_zero_is_reported_but_not_counted(client: AsyncPiClient) -> None:
    """Monitoring a question without letting it move the total."""
    result = await score(client, [{"question": POLITE}, {"question": CLEAR, "weight": 0}])
    assert result.question_scores == {POLITE: 0.9, CLEAR: 0.4}
    assert result.total_score == 0.9


async def test_dimension_specs_answer_dimension_scores(client: AsyncPiClient) -> None:
    """Sub-scores raw; the dimension's total after its curve; arithmetic means throughout.

    Tone: (.9 × 3 + .4) / 4 = .775, which the curve [.775] sends to .5. Clarity: .4. Total (.5 + 3 × .4) / 4 = .425.
    """
    subs = [
        {"label": "polite", "description": POLITE, "weight": 3},
        {"label": "clear", "description": CLEAR, "weight": 1},
    ]
    spec = {
        "name": "Support",
        "description": "Answers",
        "dimensions": [
            {"label": "Tone", "description": "", "sub_dimensions": subs, "parameters": [0.775]},
            {"label": "Clarity", "description": "", "sub_dimensions": subs[1:], "weight": 3},
        ],
    }
    result = await score(client, spec)
    assert result.question_scores is None
    assert result.dimension_scores["Tone"].subdimension_scores == {"polite": 0.9, "clear": 0.4}
    assert result.dimension_scores["Tone"].total_score == pytest.approx(0.5)
    assert result.total_score == pytest.approx(0.425)
    assert [q.key for q in result.questions()] == ["Tone / polite", "Tone / clear", "Clarity / clear"]


async def test_scores_are_rounded_to_four_decimals() -> None:
    """Rounding comes last: of the total 1/3, not of what goes into it."""
    async with embedded(judge=ScriptedJudge({"q": 1 / 3})) as client:
        result = await score(client, [{"question": "q"}])
    assert (result.question_scores, result.total_score) == ({"q": 0.3333}, 0.3333)


async def test_unscored_is_an_error_that_names_question_and_reason(client: AsyncPiClient) -> None:
    """The default policy: 502 for a judge, permanent when asking again cannot help."""
    with pytest.raises(PiStatusError) as raised:
        await score(client, [{"question": POLITE}, {"question": "Unknown?", "label": "odd"}])
    assert (raised.value.status, raised.value.should_retry) == (502, False)
    assert "'odd'" in str(raised.value)
    assert "no answer to 'Unknown?'" in str(raised.value)


async def test_partial_leaves_unscored_questions_out_of_the_total(client: AsyncPiClient) -> None:
    """Weights are renormalised over what is left, and the reason is told; there is no 0."""
    spec = [{"question": POLITE}, {"question": "Unknown?", "label": "odd", "weight": 5}]
    result = await score(client, spec, unscored="partial")
    assert result.question_scores == {POLITE: 0.9}
    assert result.total_score == 0.9
    assert "no answer" in result.unscored["odd"]
    assert [(q.key, q.score) for q in result.questions()] == [(POLITE, 0.9), ("odd", None)]


async def test_partial_is_nested_as_the_scores_are(client: AsyncPiClient) -> None:
    """A dimension with nothing left to count leaves the total; its reasons stay."""
    known, unknown = {"label": "a", "description": POLITE}, {"label": "b", "description": "Unknown?"}
    spec = {"dimensions": [{"label": "D", "sub_dimensions": [known]}, {"label": "E", "sub_dimensions": [unknown]}]}
    result = await score(client, spec, unscored="partial")
    assert set(result.dimension_scores) == {"D"}
    assert set(result.unscored) == {"E"}
    assert "no answer" in result.unscored["E"]["b"]
    assert [(q.key, q.score) for q in result.questions()] == [("D / a", 0.9), ("E / b", None)]


async def test_partial_keeps_scores_that_do_not_count(client: AsyncPiClient) -> None:
    """A question of weight 0 stays, in a dimension that has no total for want of its other question."""
    subs = [
        {"label": "a", "description": POLITE, "weight": 0},
        {"label": "b", "description": "Unknown?"},
    ]
    known = {"label": "E", "sub_dimensions": [{"label": "c", "description": CLEAR}]}
    spec = {"dimensions": [{"label": "D", "sub_dimensions": subs}, known]}
    result = await score(client, spec, unscored="partial")
    assert result.dimension_scores["D"].subdimension_scores == {"a": 0.9}
    assert result.dimension_scores["D"].total_score is None
    assert result.total_score == 0.4


RUBBISH = {
    "nothing": None,
    "numbers": [0.5],
    "a dictionary": {"q": 0.5},
    "too few": [],
    "another type of number": "half",
}


@pytest.mark.parametrize("rubbish", RUBBISH, ids=str)
async def test_a_judge_that_answers_rubbish_is_a_502_that_names_the_question(rubbish: str) -> None:
    """Never a 500, and never a score."""

    class Rubbish(ScriptedJudge):
        async def answer(self, exchange: Exchange, questions: object) -> Any:
            return [Verdict(score="half")] if RUBBISH[rubbish] == "half" else RUBBISH[rubbish]  # type: ignore[arg-type]

    async with embedded(judge=Rubbish(), retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(PiStatusError, match="'q' is unscored") as raised:
            await score(client, [{"question": "q"}])
    assert raised.value.status == 502


async def test_half_an_emoji_from_a_judge_does_no_harm() -> None:
    """Models cut them; JSON readers refuse them."""
    verdict = Verdict(score=0.5, method="structured", explanation="nice \ud83d")
    async with embedded(judge=ScriptedJudge({"q": verdict})) as client:
        result = await score(client, [{"question": "q"}])
    assert result.provenance.questions["q"].explanation == "nice ?"


async def test_nothing_left_to_count_is_always_an_error(client: AsyncPiClient) -> None:
    """Not even `partial` invents a total; a scored question of weight 0 does not make one."""
    spec = [{"question": POLITE, "weight": 0}, {"question": "Unknown?"}]
    with pytest.raises(PiStatusError, match="no answer"):
        await score(client, spec, unscored="partial")


async def test_a_judge_that_raises_costs_no_other_question_its_score() -> None:
    """Its questions are unscored; the code question beside them is scored."""
    code = "def score(response_text, input_text, kwargs):\n    return {'score': 0.5}"
    spec = [{"question": "q"}, {"question": "c", "scoring_type": "PYTHON_CODE", "python_code": code}]
    async with embedded(judge=ScriptedJudge({"q": ValueError("key sk-123")}), unscored="partial") as client:
        result = await score(client, spec)
    assert result.question_scores == {"c": 0.5}
    assert result.unscored == {"q": "the judge failed: ValueError"}


async def test_a_slow_judge_is_unscored_after_its_time() -> None:
    """A time-out may pass by itself, so the client is told that it may retry."""
    settings = EngineSettings(judge=ScriptedJudge(default=0.5, delay=5), judge_timeout=0.05)
    async with embedded(settings=settings, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(PiStatusError, match=r"no answer within 0\.05 s") as raised:
            await score(client, [{"question": "q"}])
    assert (raised.value.status, raised.value.should_retry) == (502, None)


async def test_a_time_out_of_the_judges_own_is_not_told_as_the_engines() -> None:
    """It came at once, not after the engine's two minutes."""
    async with embedded(judge=ScriptedJudge({"q": TimeoutError()}), retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(PiStatusError, match="the judge failed: TimeoutError"):
            await score(client, [{"question": "q"}])


async def test_failing_code_is_the_requests_fault() -> None:
    """422, and never a score of 0."""
    code = "def score(response_text, input_text, kwargs):\n    return {'score': 7}"
    spec = [{"question": "c", "label": "length", "scoring_type": "PYTHON_CODE", "python_code": code}]
    async with embedded(judge=ScriptedJudge()) as client:
        with pytest.raises(PiStatusError, match=r"'length' is unscored.*7") as raised:
            await score(client, spec)
    assert (raised.value.status, raised.value.should_retry) == (422, False)


async def test_an_unregistered_model_is_refused_before_anything_is_asked(
    client: AsyncPiClient, judge: ScriptedJudge
) -> None:
    """A request names models only inside what the operator allowed."""
    spec = [{"question": POLITE}, {"question": "m", "scoring_type": "CUSTOM_MODEL_SCORER", "custom_model_id": "mine"}]
    with pytest.raises(PiStatusError, match="mine") as raised:
        await score(client, spec)
    assert raised.value.status == 422
    assert judge.asked == []


async def test_every_score_says_who_made_it_and_how(client: AsyncPiClient) -> None:
    """Provenance names the judge and each question's reading; a kept verdict says so."""
    first = await score(client, [{"question": POLITE, "label": "polite"}])
    again = await score(client, [{"question": POLITE, "label": "polite"}, {"question": CLEAR}])
    assert first.judge == "scripted/default"
    assert first.provenance.questions["polite"].method == "scripted"
    assert again.provenance.questions["polite"].method == "cache"
    assert again.provenance.questions["polite"].read == "scripted"
    assert again.provenance.questions[CLEAR].method == "scripted"


async def test_the_same_question_is_asked_once(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """Two labels of one text, and a second request for the same exchange, cost one answer."""
    spec = [{"question": POLITE, "label": "a"}, {"question": POLITE, "label": "b"}]
    result = await score(client, spec)
    await score(client, spec)
    assert result.question_scores == {"a": 0.9, "b": 0.9}
    assert judge.asked == [(Exchange("Hi", "Hello!"), POLITE)]


async def test_unscored_verdicts_are_asked_again() -> None:
    """Only scores are kept."""
    answers = iter([Verdict.unscored("overloaded", method="scripted", retryable=True), 0.7])
    async with embedded(judge=ScriptedJudge(lambda exchange, question: next(answers))) as client:
        result = await score(client, [{"question": "q"}])
    assert result.total_score == 0.7


async def test_a_wrong_policy_is_refused(client: AsyncPiClient) -> None:
    """By the client, before anything is sent."""
    with pytest.raises(PiUsageError, match="'error' or 'partial'"):
        await score(client, [{"question": POLITE}], unscored="ignore")


async def test_usage_adds_up_over_questions() -> None:
    """Tokens are summed; what no verdict knows stays absent."""

    def answer(exchange: Exchange, question: str) -> Verdict:
        return Verdict(score=0.5, method="structured", usage=Usage(calls=1, input_tokens=100))

    async with embedded(judge=ScriptedJudge(answer)) as client:
        result = await score(client, [{"question": "a"}, {"question": "b"}])
    assert (result.usage.calls, result.usage.input_tokens, result.usage.output_tokens) == (2, 200, None)


async def test_text_that_is_not_unicode_is_refused_by_the_client(client: AsyncPiClient) -> None:
    """A lone surrogate cannot be written as JSON."""
    with pytest.raises(PiUsageError):
        await client.scoring_system.score(llm_input="", llm_output="\ud800", scoring_spec=[{"question": POLITE}])
