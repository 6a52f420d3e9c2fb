"""Updates of an agent's state that stay with the draft they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelResponse
from langgraph.types import Command

__all__ = ["update_of", "with_update"]

_Update = Mapping[str, Mapping[str, Any]]


@dataclass
class _Carrier(ModelResponse[Any]):
    """A response with the update of the state that is about it."""

    update: _Update = field(default_factory=dict)


def update_of(response: ModelResponse[Any]) -> _Update:
    """The inner middlewares' update of the state about `response`; empty where another middleware rebuilt it."""
    return response.update if isinstance(response, _Carrier) else {}


def with_update(
    response: ModelResponse[Any], update: _Update, carried: _Update | None = None
) -> ExtendedModelResponse[Any]:
    """`response` with an update of the state, together with `carried`, by default those of the middlewares inside.

    LangChain alone would apply the inner updates about the last response, even where an outer one chose an earlier one.
    """
    carried = update_of(response) if carried is None else carried
    merged = {key: {**carried.get(key, {}), **entries} for key, entries in update.items()}
    carrier = _Carrier(response.result, response.structured_response, merged)
    return ExtendedModelResponse(carrier, Command(update=merged))
