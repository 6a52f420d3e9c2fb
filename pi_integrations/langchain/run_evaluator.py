"""`PiRunEvaluator`: Pi scores for LangSmith runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langsmith.evaluation.evaluator import EvaluationResult, EvaluationResults, RunEvaluator
from langsmith.schemas import Example, Run

from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.evaluation import Evaluation
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.feedback import Feedback
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.langchain.texts import Key
from pi_integrations.models import AggregationMethod, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiRunEvaluator"]

_ERROR_CHARACTERS = 200


class PiRunEvaluator(RunEvaluator):
    """Scores LangSmith runs: one `EvaluationResult` per question, and last the total.

    Goes to `evaluate` and `aevaluate` alike, with any `max_concurrency`, and inside a running loop. The input comes
    from the example, or from the run when there is none; the answer from the run's outputs; the reference from the
    example's outputs. A row that cannot be scored shows its error under every feedback key.

    Takes the arguments of `create_pi_evaluator`.

    Raises:
        PiUsageError: the spec or an option is wrong; when evaluating: the run failed, or what to score is unclear.
        PiError: when evaluating: whatever `scoring_system.score` raises.

    Example:
        ```python
        from uuid import uuid4

        from langsmith import Client, evaluate
        from langsmith.schemas import Example

        from pi_integrations import embedded
        from pi_integrations.langchain import PiRunEvaluator


        def application(inputs: dict) -> dict:
            return {"answer": "It left our warehouse this morning."}


        examples = [Example(id=uuid4(), inputs={"question": "Where is my order?"}, outputs={})]
        quiet = Client(auto_batch_tracing=False, tracing_sampling_rate=0.0)  # sends nothing
        with embedded(judge="baseline") as client:
            evaluator = PiRunEvaluator([{"question": "Does the answer say where the order is?"}], client=client)
            rows = list(
                evaluate(application, data=examples, evaluators=[evaluator], upload_results=False, client=quiet)
            )
        print(rows[0]["evaluation_results"]["results"][-1].key)  # pi_score
        ```
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: AsyncPiClient | PiClient | None = None,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
        feedback_key: str = "pi_score",
        input_key: Key | None = None,
        output_key: Key | None = None,
        reference_key: Key | None = None,
        context_key: Key | None = None,
    ) -> None:
        self._evaluation = Evaluation(
            Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored),
            ExchangeReader(input_key, output_key, reference_key, context_key),
            feedback_key,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(feedback_keys={self.feedback_keys!r})"

    @property
    def feedback_keys(self) -> list[str]:
        """Every question's key, and last the total's; LangSmith reports an error under each."""
        return self._evaluation.keys

    def evaluate_run(
        self, run: Run, example: Example | None = None, evaluator_run_id: UUID | None = None
    ) -> EvaluationResults:
        """The scores of a run."""
        return _results(self._evaluation.evaluate(*_parts(run, example)))

    async def aevaluate_run(
        self, run: Run, example: Example | None = None, evaluator_run_id: UUID | None = None
    ) -> EvaluationResults:
        """The scores of a run."""
        return _results(await self._evaluation.aevaluate(*_parts(run, example)))


def _parts(run: Run, example: Example | None) -> tuple[Any, Any, Any]:
    if run.error:
        first_line = run.error.partition("\n")[0][:_ERROR_CHARACTERS]
        raise PiUsageError(f"the run failed, so there is nothing to score: {first_line}")
    if example is None:
        return _unwrapped(run.inputs), run.outputs, None
    return example.inputs, run.outputs, example.outputs


def _unwrapped(inputs: Any) -> Any:
    """A traced function of one argument records its inputs below the argument's name."""
    if isinstance(inputs, Mapping) and list(inputs) == ["inputs"] and isinstance(inputs["inputs"], Mapping):
        return inputs["inputs"]
    return inputs


def _results(feedback: list[Feedback]) -> EvaluationResults:
    return EvaluationResults(results=[EvaluationResult(**entry) for entry in feedback])
