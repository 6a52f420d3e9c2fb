"""Code questions: a user's `score` function, run in a sandbox.

Nothing a user sends is parsed, decoded or run in the engine's own process. The engine moves bytes to a worker process
(`sandbox`), which reads the source and drives pydantic-monty, whose interpreter is a further process with limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pi_integrations.engine.scoring.code_questions.limits import CodeLimits

if TYPE_CHECKING:
    from pi_integrations.engine.scoring.code_questions.runner import CodeRunner

__all__ = ["CodeLimits", "CodeRunner"]


def __getattr__(name: str) -> Any:
    # Lazy: a worker process imports this package too, and starts in half the time without the runner's wire models.
    if name == "CodeRunner":
        from pi_integrations.engine.scoring.code_questions.runner import CodeRunner

        return CodeRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
