"""Durable jobs: what is started is finished, whatever dies meanwhile.

A kind of job is a `JobFamily`: its request, its status and its work. `JobEngine` starts, runs, follows and cancels
jobs.
Importing this package does not import DBOS; importing `engine` does.
"""

from pi_integrations.engine.jobs.family import JobFamily, JobStopped, Run
from pi_integrations.engine.jobs.settings import JobSettings

__all__ = ["JobFamily", "JobSettings", "JobStopped", "Run"]
