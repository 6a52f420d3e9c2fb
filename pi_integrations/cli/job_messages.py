"""Message lines of jobs, as the shell shows them."""

from __future__ import annotations

import json
from typing import Any

from pi_integrations.cli.visible import visible

__all__ = ["shown_message"]


def shown_message(line: str) -> str:
    """A message line for people: one that carries metrics as `name value, …`; nothing in it acts on the terminal.

    Example:
        >>> shown_message('{"batch": 2, "good": 5, "theme": null}')
        'batch 2, good 5'
    """
    try:
        values: Any = json.loads(line)
    except ValueError:
        values = None
    if isinstance(values, dict):
        line = ", ".join(f"{name} {_short(value)}" for name, value in values.items() if value not in (None, 0))
    return visible(" ".join(line.split()))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
