"""Scores for live traffic, made in the background so that the application does not wait for them."""

from pi_integrations.background.absorbed_errors import WarnOnce
from pi_integrations.background.counts import ScorerCounts, Tally
from pi_integrations.background.jsonl_sink import JsonlSink
from pi_integrations.background.open_telemetry_sink import OpenTelemetrySink
from pi_integrations.background.queued_sink import QueuedSink, SinkCounts
from pi_integrations.background.scorer import BackgroundScorer
from pi_integrations.background.sinks import BackgroundScore, CallableSink, MemorySink, ScoreSink

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
