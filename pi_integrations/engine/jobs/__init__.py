"""Durable jobs: a job that was started is finished, whichever process dies meanwhile.

`FamilyWork` is how the jobs of a family are done. `JobEngine` starts, runs, follows and cancels jobs.
Importing this package does not import DBOS; importing `engine` does.
"""

from pi_integrations.engine.jobs.family import FamilyWork, JobStopped, Run
from pi_integrations.engine.jobs.settings import JobSettings

__all__ = ["FamilyWork", "JobSettings", "JobStopped", "Run"]
