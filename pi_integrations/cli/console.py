"""The shell's output: results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from pi_integrations.reports.text import visible

__all__ = ["errors", "results", "shown_message"]


def results() -> Console:
    """Standard output; coloured only when it is a terminal."""
    return Console(highlight=False)


def errors() -> Console:
    """Standard error, for progress and notes."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def shown_message(line: str) -> str:
    """A job's message line, safe to print; one that carries metrics becomes `name value, …`.

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
