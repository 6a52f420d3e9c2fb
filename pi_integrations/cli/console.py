"""Where the shell prints: results on standard output, everything else on standard error."""

from __future__ import annotations

from rich.console import Console

__all__ = ["errors", "results"]


def results() -> Console:
    """Standard output; colours only when it is a terminal."""
    return Console(highlight=False)


def errors() -> Console:
    """Standard error, for progress and notes."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
