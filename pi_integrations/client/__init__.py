"""The one client of the Pi API: limits, retries, caching, jobs, and calls from any thread or loop."""

from pi_integrations.client.cache import MemoryResultCache, ResultCache
from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.job_stream import JobStream
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.client.limiter import ConcurrencyLimiter, Limiter
from pi_integrations.client.resources import Data, GenerateInputResponsePairs, GenerateInputs, ScoringSystem
from pi_integrations.client.retry import RetryPolicy
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.sync import PiClient
from pi_integrations.client.sync_jobs import SyncJob

__all__ = [
    "AsyncPiClient",
    "ClientSettings",
    "ConcurrencyLimiter",
    "Data",
    "GenerateInputResponsePairs",
    "GenerateInputs",
    "Job",
    "JobResource",
    "JobStream",
    "Limiter",
    "MemoryResultCache",
    "PiClient",
    "Progress",
    "ResultCache",
    "RetryPolicy",
    "Scored",
    "ScoringSystem",
    "SyncJob",
]
