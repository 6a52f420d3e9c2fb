"""Judges: what answers yes/no questions about one exchange."""

from pi_integrations.engine.judges.protocol import Exchange, Judge, Method, Verdict

__all__ = ["Exchange", "Judge", "Method", "Verdict"]
