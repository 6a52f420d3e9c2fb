"""Scores for live traffic, made in the background so that the application does not wait for them."""

from pi_integrations.background.jsonl_sink import JsonlSink
from pi_integrations.background.ledger import ScorerCounts
from pi_integrations.background.once import WarnOnce
from pi_integrations.background.open_telemetry_sink import OpenTelemetrySink
from pi_integrations.background.queued_sink import QueuedSink, SinkCounts
from pi_integrations.background.scorer import BackgroundScorer
from pi_integrations.background.sinks import BackgroundScore, CallableSink, MemorySink, ScoreSink
from pi_integrations.background.tally import Tally

__all__ = [
    "BackgroundScore",
    "BackgroundScorer",
    "CallableSink",
    "JsonlSink",
    "MemorySink",
    "OpenTelemetrySink",
    "QueuedSink",
    "ScoreSink",
    "ScorerCounts",
    "SinkCounts",
    "Tally",
    "WarnOnce",
]
