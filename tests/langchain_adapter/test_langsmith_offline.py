"""LangSmith's own `evaluate` and `aevaluate`, with no network and nothing uploaded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from adapter_judges import StuckJudge
from langsmith import Client, aevaluate, evaluate
from langsmith.run_trees import RunTree
from langsmith.schemas import Example
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiUsageError
from pi_integrations.langchain import PiRunEvaluator, create_async_pi_evaluator, create_pi_evaluator
from pi_integrations.testing import Exchange, ScriptedJudge, embedded, scripted_client

# LangSmith 0.15.1 names it upload_runs and takes both names.
pytestmark = pytest.mark.filterwarnings("ignore:'upload_(results|runs)' parameter is in beta")

SPEC = [{"question": POLITE, "label": "Polite"}, {"question": CLEAR, "label": "Clear"}]
SCORES = {"Polite": 0.9, "Clear": 0.4, "pi_score": 0.6}
COUNT = 4


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Look-ups and connections beyond this machine are refused, and fail the test, on whatever thread."""
    made: list[Any] = []
    for name in ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", _refusing(socket.socket.connect, made, lambda args: args[1]))
    monkeypatch.setattr(socket, "getaddrinfo", _refusing(socket.getaddrinfo, made, lambda args: args))
    yield made
    assert made == []


def _refusing(real: Any, made: list[Any], address: Any) -> Any:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        target = address(args)
        if isinstance(target, tuple) and target[0] not in ("127.0.0.1", "::1", "localhost"):
            made.append(target)
            raise OSError(f"no network here: {target}")
        return real(*args, **kwargs)

    return guarded


@pytest.fixture
def quiet() -> Client:
    """Before LangSmith 0.15.1 `aevaluate` sends the application's traces even so; this client of it sends nothing."""
    return Client(auto_batch_tracing=False, tracing_sampling_rate=0.0)


def examples(count: int = COUNT) -> list[Example]:
    now = datetime.now(UTC)
    return [
        Example(
            id=uuid4(),
            inputs={"question": f"Question {n}"},
            outputs={"answer": f"Reference {n}"},
            dataset_id=uuid4(),
            created_at=now,
        )
        for n in range(count)
    ]


def application(inputs: dict[str, Any]) -> dict[str, Any]:
    if inputs["question"] == "Question 13":
        raise LookupError("no such order")
    return {"answer": f"Answer to {inputs['question']}", "sources": []}


async def async_application(inputs: dict[str, Any]) -> dict[str, Any]:
    return application(inputs)


def scores(row: Any) -> dict[str, Any]:
    return {result.key: result.score for result in row["evaluation_results"]["results"]}


def run(langsmith: Client, evaluator: Any, data: list[Example], max_concurrency: int = 0) -> list[Any]:
    options: Any = {"upload_results": False, "max_concurrency": max_concurrency, "client": langsmith}
    return list(evaluate(application, data=data, evaluators=[evaluator], **options))


async def arun(langsmith: Client, evaluator: Any, data: list[Example], max_concurrency: int = 0) -> list[Any]:
    options: Any = {"upload_results": False, "max_concurrency": max_concurrency, "client": langsmith}
    return [row async for row in await aevaluate(async_application, data=data, evaluators=[evaluator], **options)]


MAKERS = [create_pi_evaluator, create_async_pi_evaluator, PiRunEvaluator]


@pytest.mark.parametrize("max_concurrency", [0, 2])
@pytest.mark.parametrize("make", MAKERS)
def test_evaluate_gives_every_row_its_scores(
    quiet: Client, client: AsyncPiClient, make: Any, max_concurrency: int
) -> None:
    """Outside a loop, LangSmith runs async evaluators in a new loop for each row."""
    rows = run(quiet, make(SPEC, client=client), examples(), max_concurrency)
    assert [scores(row) for row in rows] == [SCORES] * COUNT


@pytest.mark.parametrize("max_concurrency", [0, 2])
@pytest.mark.parametrize("make", MAKERS)
async def test_aevaluate_gives_every_row_its_scores(
    quiet: Client, client: AsyncPiClient, make: Any, max_concurrency: int
) -> None:
    """Sync evaluators run in threads there."""
    rows = await arun(quiet, make(SPEC, client=client), examples(), max_concurrency)
    assert [scores(row) for row in rows] == [SCORES] * COUNT


@pytest.mark.parametrize("max_concurrency", [0, 2])
@pytest.mark.parametrize("make", [create_pi_evaluator, PiRunEvaluator])
async def test_evaluate_works_inside_a_running_loop(
    quiet: Client, client: AsyncPiClient, make: Any, max_concurrency: int
) -> None:
    """As in a notebook."""
    rows = run(quiet, make(SPEC, client=client), examples(), max_concurrency)
    assert [scores(row) for row in rows] == [SCORES] * COUNT


def test_rows_are_scored_from_the_example_and_the_run(
    quiet: Client, client: AsyncPiClient, judge: ScriptedJudge
) -> None:
    """Input and reference from the example, the answer from the run; the same for functions and run evaluators."""
    for make in (create_pi_evaluator, PiRunEvaluator):
        run(quiet, make(SPEC[:1], client=client), examples(1))
    llm_input = "### Input\nQuestion 0\n\n### Reference answer\nReference 0"
    # The engine keeps verdicts, so the same exchange is judged once.
    assert judge.asked == [(Exchange(llm_input, "Answer to Question 0"), POLITE)]


def test_results_carry_comments_and_metadata(quiet: Client, client: AsyncPiClient) -> None:
    """What a reviewer sees beside a score."""
    row = run(quiet, PiRunEvaluator(SPEC, client=client), examples(1))[0]
    first = row["evaluation_results"]["results"][0]
    assert first.metadata == {"judge": "scripted/default", "method": "scripted", "weight": 1.0}


def error_comments(row: Any) -> dict[str, str]:
    return {
        result.key: result.comment
        for result in row["evaluation_results"]["results"]
        if result.score is None and (result.extra or {}).get("error")
    }


def test_a_failed_score_shows_under_every_key_of_a_run_evaluator(quiet: Client) -> None:
    """The error row is not an empty one."""
    with scripted_client({POLITE: 0.9}) as client:
        row = run(quiet, PiRunEvaluator(SPEC, client=client), examples(1))[0]
    comments = error_comments(row)
    assert list(comments) == ["Polite", "Clear", "pi_score"]
    assert "PiStatusError" in comments["pi_score"]


@pytest.mark.parametrize("make", [create_pi_evaluator, create_async_pi_evaluator])
async def test_a_failed_score_shows_under_pi_score_of_a_function(quiet: Client, make: Any) -> None:
    """LangSmith reads that name off the function."""
    with scripted_client({POLITE: 0.9}) as client:
        row = (await arun(quiet, make(SPEC, client=client), examples(1)))[0]
    assert list(error_comments(row)) == ["pi_score"]


async def test_an_async_function_in_a_sync_evaluate_inside_a_loop_is_an_error_row(
    quiet: Client, client: AsyncPiClient
) -> None:
    """LangSmith cannot run it there, and says so in the row."""
    row = run(quiet, create_async_pi_evaluator(SPEC, client=client), examples(1))[0]
    assert "aevaluate_run" in error_comments(row)["pi_score"]


def test_a_failed_application_is_an_error_and_not_a_score(
    quiet: Client, client: AsyncPiClient, judge: ScriptedJudge
) -> None:
    """Its neighbours keep their scores."""
    data = examples(2)
    data[0].inputs["question"] = "Question 13"
    rows = run(quiet, PiRunEvaluator(SPEC, client=client), data)
    by_question = {row["example"].inputs["question"]: row for row in rows}
    assert "no such order" in error_comments(by_question["Question 13"])["pi_score"]
    assert scores(by_question["Question 1"]) == SCORES


def test_feedback_keys_are_known_beforehand(client: AsyncPiClient) -> None:
    """And the repr, which LangSmith logs, shows them and nothing else."""
    evaluator = PiRunEvaluator(SPEC, client=client, feedback_key="total")
    assert evaluator.feedback_keys == ["Polite", "Clear", "total"]
    assert repr(evaluator) == "PiRunEvaluator(feedback_keys=['Polite', 'Clear', 'total'])"


async def test_a_run_without_an_example_is_scored_by_its_own_inputs(
    client: AsyncPiClient, judge: ScriptedJudge
) -> None:
    """A traced function records its inputs below its argument's name."""
    traced = RunTree(name="app", inputs={"inputs": {"question": "Q", "id": 7}}, outputs={"answer": "A", "n": 1})
    results = await PiRunEvaluator(SPEC[:1], client=client).aevaluate_run(traced)  # type: ignore[arg-type]
    assert results["results"][0].score == 0.9
    assert judge.asked == [(Exchange("Q", "A"), POLITE)]


def test_a_failed_run_cannot_be_scored(client: AsyncPiClient) -> None:
    """It has no answer, and the empty text is not it."""
    failed = RunTree(name="app", inputs={"question": "Q"}, error="LookupError('no such order')")
    with pytest.raises(PiUsageError, match="the run failed, so there is nothing to score: LookupError"):
        PiRunEvaluator(SPEC, client=client).evaluate_run(failed)  # type: ignore[arg-type]


async def test_cancelling_a_run_evaluator_cancels_the_judge() -> None:
    """Nobody waits for an answer that nobody wants."""
    judge = StuckJudge()
    async with embedded(judge=judge) as client:
        traced: Any = RunTree(name="app", inputs={"question": "Q"}, outputs={"answer": "A"})
        task = asyncio.create_task(PiRunEvaluator(SPEC, client=client).aevaluate_run(traced))
        assert await asyncio.to_thread(judge.called.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(judge.cancelled.wait, 10)
