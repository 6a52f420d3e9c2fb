"""Updates of an agent's state that stay with the draft they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelResponse
from langgraph.types import Command

__all__ = ["with_update"]

_Update = Mapping[str, Mapping[str, Any]]


@dataclass
class _Carrier(ModelResponse[Any]):
    """A response that knows what was written into the state about it."""

    update: _Update = field(default_factory=dict)


def with_update(response: ModelResponse[Any], update: _Update) -> ExtendedModelResponse[Any]:
    """`response` with an update of the state, together with those of the middlewares inside.

    Of these LangChain would keep what they wrote about the last response, also where an outer one chose an earlier.
    """
    carried = response.update if isinstance(response, _Carrier) else {}
    merged = {key: {**carried.get(key, {}), **entries} for key, entries in update.items()}
    carrier = _Carrier(response.result, response.structured_response, merged)
    return ExtendedModelResponse(carrier, Command(update=merged))
