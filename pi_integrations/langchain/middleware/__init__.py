"""Scores that an agent acts on: middleware for `langchain.agents.create_agent`."""

from pi_integrations.langchain.middleware.middleware import PiScoreMiddleware
from pi_integrations.langchain.middleware.state import PiScoreReport, PiScoreState

__all__ = ["PiScoreMiddleware", "PiScoreReport", "PiScoreState"]
