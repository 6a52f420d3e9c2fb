"""What is set on a chat model and what it holds: its temperature, its secrets."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

__all__ = ["at_temperature", "secrets_of"]


def at_temperature(model: BaseChatModel, temperature: float | None) -> BaseChatModel:
    """A copy at this temperature; `model` itself when that is None, in use already, or no setting of the model."""
    settable = "temperature" in type(model).model_fields
    if temperature is None or not settable or getattr(model, "temperature", None) == temperature:
        return model
    # `with_structured_output` takes no run-time settings along, so the setting goes into a copy of the model.
    return model.model_copy(update={"temperature": temperature})


def secrets_of(model: BaseChatModel) -> list[str]:
    """The values that must not appear in a message."""
    held = vars(model).values()
    return [value.get_secret_value() for value in held if isinstance(value, SecretStr) and value.get_secret_value()]
