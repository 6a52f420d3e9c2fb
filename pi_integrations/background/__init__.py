"""Scores for live traffic, made in the background so that the application does not wait for them."""

from pi_integrations.background.ledger import ScorerCounts
from pi_integrations.background.once import WarnOnce
from pi_integrations.background.scorer import BackgroundScorer
from pi_integrations.background.sinks import BackgroundScore, CallableSink, MemorySink, ScoreSink
from pi_integrations.background.tally import Tally

__all__ = [
    "BackgroundScore",
    "BackgroundScorer",
    "CallableSink",
    "MemorySink",
    "ScoreSink",
    "ScorerCounts",
    "Tally",
    "WarnOnce",
]
