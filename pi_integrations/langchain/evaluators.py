"""Evaluator functions in the openevals shape, for LangSmith's `evaluate` and `aevaluate` and for calling directly.

They need neither openevals nor LangChain.
"""

from __future__ import annotations

from typing import Any, Protocol

from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.langchain.evaluation import Evaluation
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.feedback import Feedback
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.langchain.texts import Key
from pi_integrations.models import AggregationMethod, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["AsyncEvaluator", "Evaluator", "create_async_pi_evaluator", "create_pi_evaluator"]


class Evaluator(Protocol):
    """What `create_pi_evaluator` returns."""

    def __call__(
        self, *, inputs: Any = None, outputs: Any, reference_outputs: Any = None, **kwargs: Any
    ) -> list[Feedback]:
        """An entry per question, and last the total."""
        ...


class AsyncEvaluator(Protocol):
    """What `create_async_pi_evaluator` returns: a coroutine function."""

    async def __call__(
        self, *, inputs: Any = None, outputs: Any, reference_outputs: Any = None, **kwargs: Any
    ) -> list[Feedback]:
        """An entry per question, and last the total."""
        ...


def create_pi_evaluator(
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
) -> Evaluator:
    """A function `(*, inputs=None, outputs, reference_outputs=None, **kwargs)` that returns a list of `Feedback`.

    `inputs`, `outputs` and `reference_outputs` may be strings, messages, lists of messages (the last is the answer), or
    mappings. Of a mapping counts the entry that the key names; without a key its `messages`, its `content`, its only
    entry, or the only one with a usual name, such as `question` or `answer`. Values that are no text are sent as JSON.

    A reference answer, contexts, a system prompt and earlier turns enter the input by the template of
    `compose_llm_input`. Called directly, the function also takes `context` or `contexts` (strings, documents or lists
    of them), `system_prompt`, `history` (messages or pairs of role and text), and `kwargs` for code questions.

    In LangSmith, a row that cannot be scored shows its error under `pi_score`, since LangSmith reads the name off the
    function; `PiRunEvaluator` shows it under each of its keys.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Either client; default: one from the environment, made at the first score.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: What to do about questions without a usable answer: `error`, or `partial`, which gives them the score
            None with the reason as comment; default: as the client says.
        feedback_key: Key of the total.
        input_key: Where the input is in `inputs`: a name, or a function of `inputs`.
        output_key: Where the answer is in `outputs`: a name, or a function of `outputs`.
        reference_key: Where the reference answer is in `reference_outputs`: a name, or a function of it; one that
            returns None leaves the reference out.
        context_key: Where retrieved passages are: a name in `outputs` or else `inputs`, or a function of `outputs`.

    Raises:
        PiUsageError: the spec or an option is wrong; the evaluator itself raises it when it cannot tell what to score.
        PiError: the evaluator raises whatever `scoring_system.score` does.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.langchain import create_pi_evaluator

        with embedded(judge="baseline") as client:
            evaluator = create_pi_evaluator(
                [{"question": "Does the answer say where the order is?", "label": "Place"}], client=client
            )
            feedback = evaluator(inputs="Where is my order?", outputs="It left our warehouse this morning.")
        print([entry["key"] for entry in feedback])  # ['Place', 'pi_score']
        ```
    """
    evaluation = Evaluation(
        Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored),
        ExchangeReader(input_key, output_key, reference_key, context_key),
        feedback_key,
    )

    # LangSmith reads this name off the source and puts the error of a failed row under it.
    def pi_score(*, inputs: Any = None, outputs: Any, reference_outputs: Any = None, **kwargs: Any) -> list[Feedback]:
        return evaluation.evaluate(inputs, outputs, reference_outputs, **kwargs)

    return pi_score


def create_async_pi_evaluator(
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
) -> AsyncEvaluator:
    """The async twin of `create_pi_evaluator`, with the same arguments and errors: a real coroutine function.

    Give it to `aevaluate`. LangSmith's sync `evaluate` cannot run async evaluators inside a running loop.

    Example:
        ```python
        import asyncio

        from pi_integrations import embedded
        from pi_integrations.langchain import create_async_pi_evaluator


        async def main():
            async with embedded(judge="baseline") as client:
                evaluator = create_async_pi_evaluator(
                    [{"question": "Does the answer say where the order is?", "label": "Place"}], client=client
                )
                return await evaluator(inputs="Where is my order?", outputs="It left our warehouse this morning.")


        print([entry["key"] for entry in asyncio.run(main())])  # ['Place', 'pi_score']
        ```
    """
    evaluation = Evaluation(
        Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored),
        ExchangeReader(input_key, output_key, reference_key, context_key),
        feedback_key,
    )

    # A closure, because LangSmith takes an object with an async __call__ for a sync evaluator.
    async def pi_score(
        *, inputs: Any = None, outputs: Any, reference_outputs: Any = None, **kwargs: Any
    ) -> list[Feedback]:
        return await evaluation.aevaluate(inputs, outputs, reference_outputs, **kwargs)

    return pi_score
