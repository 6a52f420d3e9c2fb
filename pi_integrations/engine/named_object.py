"""Objects that an operator names: `object:MODULE:NAME`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pi_integrations.errors import PiUsageError

__all__ = ["PREFIX", "named_object"]

PREFIX = "object:"


def named_object(name: str, what: str) -> Any:
    """The object that `name`, such as `object:my_models:judge`, refers to; a class or function is not called.

    Args:
        what: The setting's name, for the error: `judge`, `generator`.

    Raises:
        PiUsageError: when there is no such object.
    """
    module, _, attribute = name.removeprefix(PREFIX).partition(":")
    if not module or not attribute.isidentifier():
        raise PiUsageError(f"{what} is {name!r}; give object:MODULE:NAME, such as object:my_models:{what}")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PiUsageError(f"{what} {name} cannot be imported: {error}") from None
