"""What is set on a chat model and what it holds: its temperature, its secrets."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

__all__ = ["at_most", "at_temperature", "limits_answers", "secrets_of"]

# The same setting at different providers.
_LIMITS = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")


def at_temperature(model: BaseChatModel, temperature: float | None) -> BaseChatModel:
    """A copy at this temperature; `model` itself when that is None, in use already, or no setting of the model."""
    settable = "temperature" in type(model).model_fields
    if temperature is None or not settable or getattr(model, "temperature", None) == temperature:
        return model
    # `with_structured_output` takes no run-time settings along, so the setting goes into a copy of the model.
    return model.model_copy(update={"temperature": temperature})


def limits_answers(model: BaseChatModel) -> bool:
    """Whether the model has a setting for the most tokens an answer may have."""
    return _limit_field(model) is not None


def at_most(model: BaseChatModel, tokens: int | None) -> BaseChatModel:
    """A copy whose answers have at most so many tokens; `model` itself when that is None, or its own limit is lower."""
    field = _limit_field(model)
    if tokens is None or field is None:
        return model
    own = getattr(model, field)
    if isinstance(own, int) and 0 < own <= tokens:
        return model
    return model.model_copy(update={field: tokens})


def _limit_field(model: BaseChatModel) -> str | None:
    return next((field for field in _LIMITS if field in type(model).model_fields), None)


def secrets_of(model: BaseChatModel) -> list[str]:
    """The values that must not appear in a message."""
    held = vars(model).values()
    return [value.get_secret_value() for value in held if isinstance(value, SecretStr) and value.get_secret_value()]
