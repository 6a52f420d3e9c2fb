"""OpenTelemetry, where the application uses it; without it, nothing is loaded and nothing is recorded."""

from pi_integrations.telemetry.calls import score_call
from pi_integrations.telemetry.current import current_span_context, linked_to

__all__ = ["current_span_context", "linked_to", "score_call"]
