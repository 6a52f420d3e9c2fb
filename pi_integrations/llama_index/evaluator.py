"""`PiEvaluator`: a rubric as a LlamaIndex evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.evaluation import BaseEvaluator
from llama_index.core.prompts.mixin import PromptDictType

from pi_integrations.client import AnyClient, AsyncPiClient, PiClient, SpecScorer
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.llama_index.evaluation import PiEvaluationResult, evaluation_of
from pi_integrations.llama_index.responses import aread_text, contexts_of, read_text
from pi_integrations.models import AggregationMethod, ScoreResult, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiEvaluator"]


class PiEvaluator(BaseEvaluator):
    """Scores a query and its response with a rubric; works in `BatchEvalRunner`, in threads and in notebooks.

    Contexts and the reference enter `llm_input` by `compose_llm_input`, so that questions such as "Is every claim
    supported by the context?" make sense.

    Args:
        scoring_spec: The rubric: a list of questions, or a dimension spec.
        client: Makes the scores; its retries, limits and cache apply, and it stays open. Default: a client for the
            endpoint in the environment.
        threshold: Total in [0, 1] from which a result is passing; default 0.5.
        raise_on_error: Whether to raise when there are no scores. By default such a result has `invalid_result` True
            and the error as `invalid_reason`: `BatchEvalRunner` would repeat any exception twice, with waits of four
            seconds, after the client has retried already.
        aggregation_method: See `scoring_system.score`.
        unscored: See `scoring_system.score`.

    Raises:
        PiUsageError: when an argument is wrong, naming it; or when no client is given and no endpoint configured.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.llama_index import PiEvaluator

        with embedded() as client:
            evaluator = PiEvaluator([{"question": "Does the answer say where the order is?"}], client=client)
            result = evaluator.evaluate(query="Where is my order?", response="It left our warehouse this morning.")
            print(result.score, result.passing, result.feedback)
        ```
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: PiClient | AsyncPiClient | None = None,
        threshold: float = 0.5,
        raise_on_error: bool = False,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise PiUsageError(f"threshold is {threshold}; totals lie in [0, 1]")
        scoring = AnyClient(client).asynchronous.scoring_system
        self._scorer = SpecScorer(scoring_spec, scoring, aggregation_method=aggregation_method, unscored=unscored)
        self._threshold = threshold
        self._raise_on_error = raise_on_error

    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        reference: str | None = None,
        **kwargs: Any,
    ) -> PiEvaluationResult:
        """The scores of one response; other keyword arguments are ignored, as evaluators of LlamaIndex do.

        Args:
            query: What was asked; may be None.
            response: What was answered.
            contexts: Retrieved passages, best first.
            reference: A known good answer.

        Raises:
            PiError: when there are no scores and `raise_on_error` is set.
        """
        try:
            scores = await self._score(query, response, contexts, reference)
        except PiError as error:
            return self._invalid(error, query=query, response=response, contexts=contexts)
        return evaluation_of(scores, self._threshold, query=query, response=response, contexts=contexts)

    def evaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        reference: str | None = None,
        **kwargs: Any,
    ) -> PiEvaluationResult:
        """`aevaluate`, waited for; also where an event loop is running."""
        return loop_thread().run(self.aevaluate(query, response, contexts, reference, **kwargs))

    async def aevaluate_response(
        self, query: str | None = None, response: RESPONSE_TYPE | None = None, **kwargs: Any
    ) -> PiEvaluationResult:
        """The scores of any of the four response types, with its source nodes as contexts; a stream is read to its end.

        Args:
            query: What was asked; may be None.
            response: What a query engine returned. A stream's text stays available on it.
            **kwargs: `reference`: a known good answer.

        Raises:
            PiError: when there are no scores and `raise_on_error` is set.
        """
        try:
            text = None if response is None else await aread_text(response)
        except PiError as error:
            return self._invalid(error, query=query)
        return await self.aevaluate(query, text, contexts_of(response), **kwargs)

    def evaluate_response(
        self, query: str | None = None, response: RESPONSE_TYPE | None = None, **kwargs: Any
    ) -> PiEvaluationResult:
        """`aevaluate_response`, waited for; also where an event loop is running."""
        try:
            text = None if response is None else read_text(response)
        except PiError as error:
            return self._invalid(error, query=query)
        return self.evaluate(query, text, contexts_of(response), **kwargs)

    async def _score(
        self, query: str | None, response: str | None, contexts: Sequence[str] | None, reference: str | None
    ) -> ScoreResult:
        request = self._scorer.request(
            _text("query", query), _text("response", response), contexts=contexts or (), reference=reference
        )
        return await self._scorer.score(request)

    def _invalid(self, error: PiError, **exchange: Any) -> PiEvaluationResult:
        if self._raise_on_error:
            raise error
        return PiEvaluationResult.model_construct(invalid_result=True, invalid_reason=str(error), **exchange)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        if prompts_dict:
            raise PiUsageError("a PiEvaluator has no prompts to update: make one with another scoring_spec")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None and name == "query":
        return ""
    shown = "missing: there is nothing to score" if value is None else f"a {type(value).__name__}"
    raise PiUsageError(f"{name} is {shown}. Give its text")
