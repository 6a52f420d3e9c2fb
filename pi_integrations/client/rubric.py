"""A spec, checked once, and the client that scores with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.resources import SpecLike
from pi_integrations.client.sync import PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.models import (
    AggregationMethod,
    ScoreRequest,
    ScoreResult,
    compose_llm_input,
    describe,
    parse_spec,
    render,
)
from pi_integrations.models.wire import UnscoredPolicy, checked_policy

__all__ = ["Rubric", "as_async", "request_template"]


class Rubric:
    """Scores exchanges with one spec.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Makes the scores; default an `AsyncPiClient` for the endpoint in the environment.
        aggregation_method: See `scoring_system.score`.
        unscored: See `scoring_system.score`.

    Raises:
        PiUsageError: naming the argument at fault, or when no client is given and no endpoint is configured.
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: PiClient | AsyncPiClient | None,
        aggregation_method: AggregationMethod | str | None,
        unscored: UnscoredPolicy | None,
    ) -> None:
        self._template = request_template(scoring_spec, aggregation_method)
        self._unscored = checked_policy(unscored)
        self._client = as_async(client) or AsyncPiClient()

    def request(
        self,
        llm_input: str,
        llm_output: str,
        *,
        system_prompt: str | None = None,
        history: Sequence[tuple[str, str]] = (),
        contexts: Sequence[str] = (),
        reference: str | None = None,
    ) -> ScoreRequest:
        """The request for one exchange; its parts enter the input by `compose_llm_input`.

        Raises:
            PiUsageError: naming the argument that is not what it says above.
        """
        for name, text in (("llm_input", llm_input), ("llm_output", llm_output)):
            if not isinstance(text, str):
                raise PiUsageError(f"{name} is a {type(text).__name__}; give a string")
        for name, part in (("system_prompt", system_prompt), ("reference", reference)):
            if not isinstance(part, str | None):
                raise PiUsageError(f"{name} is a {type(part).__name__}; give a string or None")
        if isinstance(contexts, str):
            raise PiUsageError("contexts is one string; give a list of passages")
        others = [type(each).__name__ for each in contexts if not isinstance(each, str)]
        if others:
            raise PiUsageError(f"contexts holds a {others[0]}; give a list of strings")
        if not all(map(_is_turn, history)):
            raise PiUsageError("history holds something else than turns; give (role, text) pairs of strings")
        llm_input = compose_llm_input(
            llm_input, system_prompt=system_prompt, history=history, contexts=contexts, reference=reference
        )
        return self._template.model_copy(update={"llm_input": llm_input, "llm_output": llm_output})

    async def score(self, request: ScoreRequest) -> ScoreResult:
        """The scores; raises what `scoring_system.score` raises."""
        return await self._client.post_score(request, unscored=self._unscored)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, tuple | list) and len(turn) == 2 and all(isinstance(part, str) for part in turn)


def request_template(scoring_spec: SpecLike, aggregation_method: AggregationMethod | str | None) -> ScoreRequest:
    """A request with the spec and the mean checked, and both texts empty.

    Raises:
        PiUsageError: naming the field at fault.
    """
    values = {"scoring_spec": parse_spec(scoring_spec), "aggregation_method": aggregation_method}
    try:
        return ScoreRequest.model_validate({"llm_input": "", "llm_output": "", **values})
    except ValidationError as error:
        raise PiUsageError(render(describe(error))) from None


def as_async(client: PiClient | AsyncPiClient | None) -> AsyncPiClient | None:
    """The async client that `client` is or stands on; None for none.

    Raises:
        PiUsageError: when it is something else.
    """
    if isinstance(client, PiClient):
        return client.asynchronous
    if client is None or isinstance(client, AsyncPiClient):
        return client
    raise PiUsageError(f"client is a {type(client).__name__}; give a PiClient or an AsyncPiClient")
