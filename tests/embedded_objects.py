"""What engines in processes of their own import by name."""

from __future__ import annotations

from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.testing import ScriptedJudge

QUESTION = "Is it polite?"
judge = ScriptedJudge({QUESTION: 0.25})
slow_judge = ScriptedJudge(default=0.5, delay=1.0)


def slow_generator() -> ScriptedGenerator:
    """Takes a tenth of a second for an answer."""
    return ScriptedGenerator(latency=0.1)
