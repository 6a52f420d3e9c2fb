"""`PiPairwiseStringEvaluator`: which of two answers Pi scores higher, in LangChain's classic evaluation contract."""

from __future__ import annotations

from typing import Any

from langchain_classic.evaluation.schema import PairwiseStringEvaluator

from pi_integrations.langchain.classic import ClassicEvaluator, pair_result, read_prediction

__all__ = ["PiPairwiseStringEvaluator"]


class PiPairwiseStringEvaluator(ClassicEvaluator, PairwiseStringEvaluator):
    """Prefers the prediction with the higher total; each is scored by itself, so their order cannot matter.

    `evaluate_string_pairs(prediction=, prediction_b=, input=, reference=None)` and `aevaluate_string_pairs` return a
    dict with `value` ("A" for the first, "B" for the second, None for equal totals), `score` (1, 0 or .5),
    `reasoning`, `total_scores` and `question_scores` (both by "A" and "B"). They also take `contexts`, `system_prompt`,
    `history` and `kwargs`.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Either client; default: one from the environment, made at the first score.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: `error` or `partial`; with `partial` the two totals may rest on different questions. Default: as the
            client says.
        evaluation_name: Name of the evaluation in results.

    Raises:
        PiUsageError: the spec or an option is wrong.
        ValueError: when evaluating without an input; it may be the empty string.
        PiError: when evaluating: any error of `scoring_system.score`.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.langchain import PiPairwiseStringEvaluator

        with embedded(judge="baseline") as client:
            evaluator = PiPairwiseStringEvaluator(
                [{"question": "Does the answer say where the order is?"}], client=client
            )
            result = evaluator.evaluate_string_pairs(
                input="Where is my order?",
                prediction="It left our warehouse this morning.",
                prediction_b="We sell shoes.",
            )
        print(result["value"], result["total_scores"])
        ```
    """

    def _evaluate_string_pairs(
        self, *, prediction: Any, prediction_b: Any, reference: Any = None, input: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        pair = (read_prediction(answer, reference, input, kwargs) for answer in (prediction, prediction_b))
        return pair_result(*self._scoring.score_all(*pair))

    async def _aevaluate_string_pairs(
        self, *, prediction: Any, prediction_b: Any, reference: Any = None, input: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        pair = (read_prediction(answer, reference, input, kwargs) for answer in (prediction, prediction_b))
        return pair_result(*await self._scoring.ascore_all(*pair))
