"""For users' own tests: models that answer from a table or out of built-in words, and a client over a real engine.

Example:
    ```python
    with scripted_client({"Is it polite?": 0.9}) as client:
        ...
    ```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.judges.scripted import Script, ScriptedJudge
from pi_integrations.local import Embedded, embedded

if TYPE_CHECKING:
    from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator as ScriptedGenerator

__all__ = ["Exchange", "ScriptedGenerator", "ScriptedJudge", "Verdict", "scripted_client"]


def scripted_client(script: Script | None = None, *, default: float | None = None, **given: Any) -> Embedded:
    """`embedded` with a `ScriptedJudge`; `given` are `embedded`'s other arguments."""
    return embedded(judge=ScriptedJudge(script, default=default), **given)


def __getattr__(name: str) -> Any:
    # A LangChain chat model: scoring alone must not need LangChain.
    if name == "ScriptedGenerator":
        from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

        return ScriptedGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
