"""`client.scoring_system.calibrate` against an engine with jobs: start, messages, result, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pi_integrations import PiClient, PiUsageError, embedded
from pi_integrations.models import CalibrationStatus, CalibrationStrategy, DimensionSpec, LabeledExample, Question

SPEC = [{"question": "Is it polite?", "label": "Polite"}, {"question": "Is it long?", "label": "Long", "weight": 2}]
DIMENSIONS = {
    "name": "Tone",
    "description": "How it is said",
    "dimensions": [
        {
            "label": "Manner",
            "description": "Its manner",
            "sub_dimensions": [{"label": "Polite", "description": "Is it polite?", "scoring_type": "PI_SCORER"}],
        }
    ],
}
ANSWERS = ["No.", "No, sorry.", "Thank you for asking; it left this morning.", "Please, thank you: it left today."]


def labels(count: int = 24) -> list[tuple[str, str, float]]:
    return [(f"Question {n}", f"{ANSWERS[n % 4]} {n}", round((n % 4) / 3, 4)) for n in range(count)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PiClient]:
    """Of an engine with the baseline judge."""
    with embedded(jobs=True, judge="baseline", data_dir=tmp_path_factory.mktemp("jobs")) as client:
        yield client


@pytest.fixture(scope="module")
def done(client: PiClient) -> tuple[list[str], CalibrationStatus]:
    """The messages and the result of one job over labels and a preference."""
    job = client.scoring_system.calibrate.start_job(
        scoring_spec=SPEC,
        examples=labels(),
        preference_examples=[{"llm_input": "Where is it?", "chosen": ANSWERS[3], "rejected": ANSWERS[0]}],
        strategy="LITE",
        aggregation_method="ARITHMETIC_MEAN",
    )
    return list(job.messages()), job.result()


def test_messages_say_how_far_a_job_is_and_what_came_of_it(done: tuple[list[str], CalibrationStatus]) -> None:
    """The last before the state is the summary of the report."""
    messages, status = done
    assert messages[0] == "LAUNCHING" and messages[-1] == "DONE"
    assert "Scored 26 of 26 exchanges" in messages
    assert status.report is not None and messages[-2] == status.report["summary"]
    assert (status.report["computed_on"]["labels"], status.report["computed_on"]["pairs"]) == (24, 1)


def test_the_calibrated_spec_is_scored_with_as_it_is(
    client: PiClient, done: tuple[list[str], CalibrationStatus]
) -> None:
    """Labels follow the judge's scores here, so that the fit holds; raw scores stay what they were."""
    spec = done[1].calibrated_scoring_spec
    assert done[1].calibrated is True and isinstance(spec, list)
    assert [question.label for question in spec] == ["Polite", "Long"]
    exchange: dict[str, Any] = {"llm_input": "Where is it?", "llm_output": ANSWERS[2]}
    given = client.scoring_system.score(**exchange, scoring_spec=SPEC)
    calibrated = client.scoring_system.score(**exchange, scoring_spec=spec)
    assert calibrated.question_scores == given.question_scores
    assert calibrated.total_score != given.total_score


def test_a_dimension_spec_comes_back_as_one(client: PiClient) -> None:
    """Unchanged, with the reason, when there are too few labels."""
    examples = [LabeledExample(llm_input="a", llm_output="b", score=1.0), {"llm_input": "a", "llm_output": "c"}]
    job = client.scoring_system.calibrate.start_job(
        scoring_spec=DIMENSIONS, examples=examples, strategy=CalibrationStrategy.LITE
    )
    status = client.scoring_system.calibrate.job(job.job_id).result()
    assert status.calibrated is False and status.report is not None
    assert status.calibrated_scoring_spec == DimensionSpec.model_validate(DIMENSIONS)
    assert "too few to calibrate" in status.report["summary"]
    assert job.job_id in [each.job_id for each in client.scoring_system.calibrate.list("DONE")]


async def test_the_async_client_starts_one_job_for_one_key(client: PiClient) -> None:
    calibrate = client.asynchronous.scoring_system.calibrate
    spec = [Question(question="Is it polite?")]
    one, again = [
        await calibrate.start_job(scoring_spec=spec, examples=[("a", "b", 0.5)], idempotency_key="k") for _ in range(2)
    ]
    assert one.job_id == again.job_id
    assert (await one.result()).calibrated is False


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "examples and preference_examples are both empty"),
        ({"examples": [("a", "b", 1.5)]}, r"examples\[0\]\.score: .*less than or equal to 1"),
        ({"examples": [{"llm_input": "a", "score": 1}]}, r"examples\[0\]\.llm_output: Field required"),
        ({"examples": [("a", "b")]}, r"examples\[0\] is a tuple of another length"),
        ({"examples": "a"}, "examples is a str"),
        ({"preference_examples": [("a", "b", "c"), 3]}, r"preference_examples\[1\] is a int"),
        ({"examples": [("a", "b", 1)], "strategy": "FAST"}, "strategy: "),
        ({"examples": [("a", "b", 1)], "scoring_spec": []}, "scoring_spec"),
    ],
)
def test_a_wrong_field_is_named_before_anything_is_sent(client: PiClient, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(PiUsageError, match=says):
        client.scoring_system.calibrate.start_job(**{"scoring_spec": SPEC, **fields})
