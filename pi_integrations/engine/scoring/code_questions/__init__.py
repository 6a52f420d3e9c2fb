"""Code questions: a user's `score` function, run in a sandbox.

The engine's own process never parses, decodes or runs what a user sends. It hands bytes to a worker process
(`sandbox`), which reads the source and drives pydantic-monty, whose interpreter is a further process with limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.scoring.code_questions.runner import CodeRunner

__all__ = ["CodeLimits", "CodeRunner"]


def __getattr__(name: str) -> Any:
    # Lazy: a worker process imports this package too, and starts in half the time without the runner's wire models.
    if name == "CodeRunner":
        from pi_integrations.engine.scoring.code_questions.runner import CodeRunner

        return CodeRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """Limits of each call, and how many calls run at once. Frozen; every limit is always enforced.

    Attributes:
        seconds: Wall time the code may run, > 0; waiting for a free worker is not charged.
        memory_bytes: Memory the code may hold, its arguments included, ≥ 1 MiB.
        recursion_depth: Calls on the stack, ≥ 1.
        workers: Calls that run at the same time, ≥ 1; each has processes of its own, started when first needed.
        source_characters: Longest `python_code`, ≥ 1.

    Raises:
        PiUsageError: naming the limit that is out of range.

    Example:
        >>> CodeLimits(seconds=0.5).workers
        2
    """

    seconds: float = 2.0
    memory_bytes: int = 64 * 1024 * 1024
    recursion_depth: int = 200
    workers: int = 2
    source_characters: int = 100_000

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds):
            raise PiUsageError(f"CodeLimits.seconds is {self.seconds}; give a finite number of seconds")
        least = {"memory_bytes": 1024 * 1024, "recursion_depth": 1, "workers": 1, "source_characters": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise PiUsageError(f"CodeLimits.{name} is {getattr(self, name)}; the least is {minimum}")
        if self.seconds <= 0:
            raise PiUsageError(f"CodeLimits.seconds is {self.seconds}; give more than 0")
