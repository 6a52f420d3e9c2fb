"""`client.scoring_system`: scores for exchanges, and the one class that builds their requests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from pi_integrations.client.calibration import Calibrate
from pi_integrations.client.calls import Calls, JsonReader, Outgoing, json_body
from pi_integrations.client.jobs import JobResource
from pi_integrations.client.result_cache import ResultCache, cache_key
from pi_integrations.client.score_many import Progress, Scored, score_stream
from pi_integrations.errors import PiResponseError, PiUsageError
from pi_integrations.models import (
    AggregationMethod,
    DimensionSpec,
    ScoreRequest,
    ScoreResult,
    SpecLike,
    compose_llm_input,
    describe,
    parse_spec,
    render,
)
from pi_integrations.models.families import CALIBRATE
from pi_integrations.models.wire import SCORE_PATH, UNSCORED_HEADER, UnscoredPolicy, checked_policy
from pi_integrations.telemetry import score_call

__all__ = ["PostsScores", "ScoringSystem", "SpecScorer"]


class ScoringSystem:
    """`client.scoring_system`: scores for exchanges, and the jobs that calibrate specs.

    Attributes:
        calibrate: The jobs that fit a spec to labels and preferences.
    """

    def __init__(self, calls: Calls, cache: ResultCache | None = None) -> None:
        self._calls = calls
        self._cache = cache
        self.calibrate = Calibrate(calls, CALIBRATE)

    @property
    def families(self) -> tuple[JobResource[Any, Any, Any], ...]:
        """The resources of its families of jobs."""
        return (self.calibrate,)

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
        scorer = SpecScorer(scoring_spec, self, aggregation_method=aggregation_method, unscored=unscored)
        return await scorer.score(scorer.request(llm_input, llm_output, kwargs=kwargs))

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
        flight at the same time are sent once. A row that fails carries its error and the rest continue. A plain
        iterable is read on the calling loop, so one that blocks should be an async iterable instead.

        Args:
            rows: Mappings or objects with `llm_input` and `llm_output`, or pairs of strings.
            scoring_spec: See `score`, as for `aggregation_method`, `kwargs` and `unscored`.
            ordered: Whether to keep the order of `rows`, or yield rows as they complete.
            on_progress: Called after each row, on the calling loop.

        Raises:
            PiUsageError: the spec, the aggregation method or `kwargs` is wrong.
        """
        scorer = SpecScorer(scoring_spec, self, aggregation_method=aggregation_method, unscored=unscored)
        # Checked once, here: copies of the template are not validated again.
        template = scorer.request("", "", kwargs=kwargs)

        async def score(llm_input: str, llm_output: str) -> ScoreResult:
            return await scorer.score(template.model_copy(update={"llm_input": llm_input, "llm_output": llm_output}))

        window = 2 * self._calls.settings.max_concurrency
        stream = score_stream(rows, score, window=window, ordered=ordered, on_progress=on_progress)
        try:
            async for scored in stream:
                yield scored
        finally:
            await stream.aclose()  # a generator left early does not close the one it reads from

    async def post_score(self, request: ScoreRequest, *, unscored: UnscoredPolicy | None = None) -> ScoreResult:
        """The scores of a checked request, from the cache or the service; raises what `score` raises."""
        settings = self._calls.settings
        policy = unscored or settings.unscored
        body = json_body(request)
        key = cache_key(settings.base_url, policy, body) if self._cache else ""
        if self._cache and (kept := self._cache.get(key)):
            return kept
        headers: dict[str, str] = {UNSCORED_HEADER: policy} if policy else {}
        with score_call(settings.base_url) as call:
            result = await self._calls.run(Outgoing("POST", SCORE_PATH, body, headers), _read_scores, watch=call)
            call.scored(result)
        _check_generation(request, result)  # before the cache, which must keep no wrong answer
        if self._cache:
            self._cache.set(key, result)
        return result


_read_scores = JsonReader[ScoreResult](ScoreResult, "scores")


def _check_generation(request: ScoreRequest, result: ScoreResult) -> None:
    wanted = "dimension_scores" if isinstance(request.scoring_spec, DimensionSpec) else "question_scores"
    if not getattr(result, wanted):
        raise PiResponseError(
            f"POST {SCORE_PATH} answered without {wanted}, which this spec asks for."
            " Check that base_url points at a Pi API."
        )


class PostsScores(Protocol):
    """Where a `SpecScorer` sends its requests: a `ScoringSystem`, or an `AnyClient`."""

    async def post_score(self, request: ScoreRequest, *, unscored: UnscoredPolicy | None = None) -> ScoreResult:
        """See `ScoringSystem.post_score`."""
        ...


class SpecScorer:
    """Builds the score requests of one checked spec, and sends them. Every score of this package is made by one.

    Args:
        scoring_spec: See `ScoringSystem.score`, as for `aggregation_method` and `unscored`; all three are attributes.
        client: Sends the requests.

    Raises:
        PiUsageError: naming the argument at fault.
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        client: PostsScores,
        *,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> None:
        values = {"scoring_spec": parse_spec(scoring_spec), "aggregation_method": aggregation_method}
        try:
            self._template = ScoreRequest.model_validate({"llm_input": "", "llm_output": "", **values})
        except ValidationError as error:
            raise PiUsageError(render(describe(error))) from None
        self.scoring_spec = self._template.scoring_spec
        self.aggregation_method = self._template.aggregation_method
        self.unscored = checked_policy(unscored)
        self._client = client

    def request(
        self,
        llm_input: str,
        llm_output: str,
        *,
        system_prompt: str | None = None,
        history: Sequence[tuple[str, str]] = (),
        contexts: Sequence[str] = (),
        reference: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> ScoreRequest:
        """The request for one exchange, whose other parts enter the input by `compose_llm_input`.

        Raises:
            PiUsageError: naming the argument at fault.
        """
        _check_texts(llm_input=llm_input, llm_output=llm_output)
        _check_parts(system_prompt, history, contexts, reference)
        llm_input = compose_llm_input(
            llm_input, system_prompt=system_prompt, history=history, contexts=contexts, reference=reference
        )
        # `model_copy` validates nothing, hence the checks by hand.
        update = {"llm_input": llm_input, "llm_output": llm_output, "kwargs": _checked_kwargs(kwargs)}
        return self._template.model_copy(update=update)

    async def score(self, request: ScoreRequest) -> ScoreResult:
        """The scores; raises what `ScoringSystem.score` raises."""
        return await self._client.post_score(request, unscored=self.unscored)


def _check_texts(**texts: Any) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise PiUsageError(f"{name} is a {type(text).__name__}; give a string")


def _check_parts(system_prompt: Any, history: Sequence[Any], contexts: Sequence[Any], reference: Any) -> None:
    for name, part in (("system_prompt", system_prompt), ("reference", reference)):
        if not isinstance(part, str | None):
            raise PiUsageError(f"{name} is a {type(part).__name__}; give a string or None")
    if isinstance(contexts, str):
        raise PiUsageError("contexts is one string; give a list of passages")
    others = [type(each).__name__ for each in contexts if not isinstance(each, str)]
    if others:
        raise PiUsageError(f"contexts holds a {others[0]}; give a list of strings")
    if not all(map(_is_turn, history)):
        raise PiUsageError("history holds something other than turns; give (role, text) pairs of strings")


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, tuple | list) and len(turn) == 2 and all(isinstance(part, str) for part in turn)


def _checked_kwargs(kwargs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if kwargs is None:
        return None
    if not isinstance(kwargs, Mapping):
        raise PiUsageError(f"kwargs is a {type(kwargs).__name__}; give a mapping of names to JSON values")
    names = [name for name in kwargs if not isinstance(name, str)]
    if names:
        raise PiUsageError(f"kwargs has the name {names[0]!r}; names are strings")
    try:
        json.dumps(dict(kwargs), allow_nan=False)  # pydantic would send NaN as null, without a word
    except (TypeError, ValueError, RecursionError) as error:
        raise PiUsageError(f"kwargs cannot be written as JSON: {error}; give plain JSON values") from None
    return dict(kwargs)
