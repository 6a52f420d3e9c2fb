"""The one client of the Pi API: limits, retries, caching, jobs, and calls from any thread or loop."""

from pi_integrations.client.calibration import Calibrate
from pi_integrations.client.client import AnyClient, AsyncPiClient, PiClient
from pi_integrations.client.data import Data, GenerateInputResponsePairs, GenerateInputs
from pi_integrations.client.followed_lines import JobSnapshot
from pi_integrations.client.job_streams import JobStream
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.client.pacing import ConcurrencyLimiter, Limiter, RetryPolicy
from pi_integrations.client.result_cache import MemoryResultCache, ResultCache
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.scoring_system import ScoringSystem, SpecScorer
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.sync_resources import SyncJob

__all__ = [
    "AnyClient",
    "AsyncPiClient",
    "Calibrate",
    "ClientSettings",
    "ConcurrencyLimiter",
    "Data",
    "GenerateInputResponsePairs",
    "GenerateInputs",
    "Job",
    "JobResource",
    "JobSnapshot",
    "JobStream",
    "Limiter",
    "MemoryResultCache",
    "PiClient",
    "Progress",
    "ResultCache",
    "RetryPolicy",
    "Scored",
    "ScoringSystem",
    "SpecScorer",
    "SyncJob",
]
