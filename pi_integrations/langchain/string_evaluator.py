"""`PiStringEvaluator`: Pi scores in LangChain's classic evaluation contract."""

from __future__ import annotations

from typing import Any

from langchain_classic.evaluation.schema import StringEvaluator

from pi_integrations.langchain.classic import ClassicEvaluator, read_prediction, string_result

__all__ = ["PiStringEvaluator"]


class PiStringEvaluator(ClassicEvaluator, StringEvaluator):
    """Scores a prediction for an input, and against a reference when one is given.

    `evaluate_strings(prediction=, input=, reference=None)` and `aevaluate_strings` return a dict with `score` (the
    total, in [0, 1]), `value` (None: a rubric gives no category), `reasoning` (a line per question) and
    `question_scores` (by label, each in [0, 1], or None when unscored). They also take `contexts`, `system_prompt`,
    `history` and `kwargs`.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Either client; default: one from the environment, made at the first score.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: What to do about questions without a usable answer: `error` or `partial`; default: as the client says.
        evaluation_name: Name of the evaluation in results.

    Raises:
        PiUsageError: the spec or an option is wrong.
        ValueError: when evaluating without an input; it may be the empty string.
        PiError: when evaluating: any error of `scoring_system.score`.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.langchain import PiStringEvaluator

        with embedded(judge="baseline") as client:
            evaluator = PiStringEvaluator(
                [{"question": "Does the answer say where the order is?", "label": "Place"}], client=client
            )
            result = evaluator.evaluate_strings(
                input="Where is my order?", prediction="It left our warehouse this morning."
            )
        print(result["score"], result["question_scores"]["Place"])  # each in [0, 1]
        ```
    """

    def _evaluate_strings(
        self, *, prediction: Any, reference: Any = None, input: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return string_result(self._scoring.score(read_prediction(prediction, reference, input, kwargs)))

    async def _aevaluate_strings(
        self, *, prediction: Any, reference: Any = None, input: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return string_result(await self._scoring.ascore(read_prediction(prediction, reference, input, kwargs)))
