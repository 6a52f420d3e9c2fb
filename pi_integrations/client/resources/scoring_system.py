"""`client.scoring_system`: scores for exchanges."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pi_integrations.client.score_many import Progress, Scored, score_stream
from pi_integrations.errors import PiUsageError
from pi_integrations.models import (
    AggregationMethod,
    DimensionSpec,
    Question,
    ScoreRequest,
    ScoreResult,
    describe,
    parse_spec,
    render,
)
from pi_integrations.models.wire import UnscoredPolicy

if TYPE_CHECKING:
    from pi_integrations.client.client import AsyncPiClient

__all__ = ["ScoringSystem", "SpecLike"]

SpecLike = Sequence[Question | dict[str, Any]] | DimensionSpec | dict[str, Any]


class ScoringSystem:
    """`client.scoring_system`: scores for exchanges."""

    def __init__(self, client: AsyncPiClient) -> None:
        self._client = client

    async def score(
        self,
        *,
        llm_input: str,
        llm_output: str,
        scoring_spec: SpecLike,
        aggregation_method: AggregationMethod | str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> ScoreResult:
        """The scores of one exchange, each in [0, 1].

        Args:
            llm_input: What the application was asked; may be empty.
            llm_output: What it answered.
            scoring_spec: A list of questions, or a dimension spec.
            aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
            kwargs: Handed to code questions.
            unscored: What to do about questions without a usable answer, where the engine lets the caller choose:
                `error`, or `partial` (left out of the total and listed in `result.unscored`).

        Raises:
            PiUsageError: the arguments are wrong; the message names the field.
            PiStatusError: the service answered with an error, retries included.
            PiConnectionError: no whole answer came, retries included.
            PiResponseError: the answer is not what the API promises.
        """
        request = _request(llm_input, llm_output, scoring_spec, aggregation_method, kwargs)
        return await self._client.post_score(request, unscored=unscored)

    async def score_many(
        self,
        rows: Iterable[Any] | AsyncIterable[Any],
        *,
        scoring_spec: SpecLike,
        aggregation_method: AggregationMethod | str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unscored: UnscoredPolicy | None = None,
        ordered: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncGenerator[Scored, None]:
        """A `Scored` per row, from any iterable, in bounded memory.

        At most twice the client's `max_concurrency` rows are read ahead of the one yielded. Identical exchanges in
        flight at the same time are sent once. A row that fails carries its error and the rest goes on. A plain
        iterable is read on the calling loop, so one that blocks should be an async iterable instead.

        Args:
            rows: Mappings or objects with `llm_input` and `llm_output`, or pairs of strings.
            scoring_spec: See `score`.
            aggregation_method: See `score`.
            kwargs: See `score`.
            unscored: See `score`.
            ordered: Whether to keep the order of `rows`, or yield rows as they complete.
            on_progress: Called after each row, on the calling loop.

        Raises:
            PiUsageError: the spec or the aggregation method is wrong.
        """
        template = _request("", "", scoring_spec, aggregation_method, kwargs)

        async def score(llm_input: str, llm_output: str) -> ScoreResult:
            request = template.model_copy(update={"llm_input": llm_input, "llm_output": llm_output})
            return await self._client.post_score(request, unscored=unscored)

        window = 2 * self._client.settings.max_concurrency
        stream = score_stream(rows, score, window=window, ordered=ordered, on_progress=on_progress)
        try:
            async for scored in stream:
                yield scored
        finally:
            await stream.aclose()


def _request(
    llm_input: str,
    llm_output: str,
    scoring_spec: SpecLike,
    aggregation_method: AggregationMethod | str | None,
    kwargs: Mapping[str, Any] | None,
) -> ScoreRequest:
    _check_kwargs(kwargs)
    try:
        return ScoreRequest(
            llm_input=llm_input,
            llm_output=llm_output,
            scoring_spec=parse_spec(scoring_spec),
            aggregation_method=aggregation_method,
            kwargs=dict(kwargs) if kwargs is not None else None,
        )
    except ValidationError as error:
        raise PiUsageError(render(describe(error))) from None


def _check_kwargs(kwargs: Mapping[str, Any] | None) -> None:
    if kwargs is None:
        return
    if not isinstance(kwargs, Mapping):
        raise PiUsageError(f"kwargs is a {type(kwargs).__name__}; give a mapping of names to JSON values")
    try:
        json.dumps(dict(kwargs), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PiUsageError(f"kwargs cannot be written as JSON: {error}; give plain JSON values") from None
