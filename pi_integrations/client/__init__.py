"""The one client of the Pi API: limits, retries, caching, and calls from any thread or loop."""

from pi_integrations.client.cache import MemoryResultCache, ResultCache
from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.limiter import ConcurrencyLimiter, Limiter
from pi_integrations.client.resources import ScoringSystem
from pi_integrations.client.retry import RetryPolicy
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.sync import PiClient

__all__ = [
    "AsyncPiClient",
    "ClientSettings",
    "ConcurrencyLimiter",
    "Limiter",
    "MemoryResultCache",
    "PiClient",
    "Progress",
    "ResultCache",
    "RetryPolicy",
    "Scored",
    "ScoringSystem",
]
