"""For users' own tests: a judge that answers from a table, and a client over a real engine with it.

Example:
    ```python
    with scripted_client({"Is it polite?": 0.9}) as client:
        ...
    ```
"""

from __future__ import annotations

from typing import Any

from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.judges.scripted import Script, ScriptedJudge
from pi_integrations.local import Embedded, embedded

__all__ = ["Exchange", "ScriptedJudge", "Verdict", "scripted_client"]


def scripted_client(script: Script | None = None, *, default: float | None = None, **given: Any) -> Embedded:
    """`embedded` with a `ScriptedJudge`; `given` are `embedded`'s other arguments."""
    return embedded(judge=ScriptedJudge(script, default=default), **given)
