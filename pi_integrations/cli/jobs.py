"""`jobs`: lists, shows, follows and cancels the jobs of every registered family."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from shlex import quote
from typing import Any

from pydantic import BaseModel

from pi_integrations.cli.console import errors, results, shown_message
from pi_integrations.cli.endpoints import JobEndpoint
from pi_integrations.cli.generation import INTERRUPTED, NOT_DONE
from pi_integrations.cli.generation_plan import GENERATED_KINDS
from pi_integrations.cli.job_table import created, figures_lines, jobs_table, rows_of
from pi_integrations.client import AsyncPiClient, Job
from pi_integrations.errors import PiStatusError, PiUsageError
from pi_integrations.models import JobState, JobStatus
from pi_integrations.reports.text import visible

__all__ = ["cancel_job", "follow_job", "list_jobs", "show_job"]

_SHOWN_MESSAGES = 12


def list_jobs(endpoint: JobEndpoint, state: JobState | None) -> int:
    """Prints a table of the caller's jobs; the exit status."""

    async def show(client: AsyncPiClient) -> int:
        jobs = [(kind, job) for kind, each in client.job_resources.items() for job in await each.list(state)]
        jobs.sort(key=lambda job: created(job[1]) or 0.0, reverse=True)
        if jobs:
            console = results()
            for line in jobs_table(jobs):
                # Whole for a pipe; one line of its width for a terminal.
                console.print(line, no_wrap=True, overflow="ellipsis" if console.is_terminal else "ignore", crop=False)
        else:
            errors().print("No jobs." if state is None else f"No jobs in {state}.")
        return 0

    return _run(endpoint, show)


def show_job(endpoint: JobEndpoint, job_id: str) -> int:
    """Prints a job's state, figures and last messages; the exit status."""

    async def show(client: AsyncPiClient) -> int:
        kind, status, _ = await _find(client, job_id)
        _print(*_status_lines(kind, status))
        return 0

    return _run(endpoint, show)


def follow_job(endpoint: JobEndpoint, job_id: str, *, data: bool) -> int:
    """Prints a job's messages, or its rows, from the first on and as they come; 0 once it is DONE, else 3."""

    async def follow(client: AsyncPiClient) -> int:
        kind, status, job = await _find(client, job_id)
        if kind in GENERATED_KINDS and not status.state.final and endpoint.lacks_generator:
            _say_that_it_waits(endpoint, kind, status)
        async for line in _data_lines(job) if data else _message_lines(job):
            _print(line)
        return 0 if (await job.status()).state is JobState.DONE else NOT_DONE

    cancel = f"pi-integrations jobs cancel {quote(job_id)}{endpoint.options()}"
    return _run(endpoint, follow, interrupted=f"Interrupted. The job has not ended; to end it: {cancel}")


def _say_that_it_waits(endpoint: JobEndpoint, kind: str, status: JobStatus) -> None:
    again = f"pi-integrations generate {kind} --job {quote(status.job_id)} --generator GENERATOR{endpoint.options()}"
    errors().print(
        f"The job is {status.state}, and this command does not work on it: its engine has no generator. It continues"
        f" only while another engine on {endpoint.job_folder} has one. To continue it:\n  {visible(again)}",
        markup=False,
    )


def cancel_job(endpoint: JobEndpoint, job_id: str) -> int:
    """Ends a job, which keeps what it made; the exit status."""

    async def cancel(client: AsyncPiClient) -> int:
        _, _, job = await _find(client, job_id)
        _print(visible(await job.cancel()))
        return 0

    return _run(endpoint, cancel)


def _run(
    endpoint: JobEndpoint, work: Callable[[AsyncPiClient], Awaitable[int]], *, interrupted: str = "Interrupted."
) -> int:
    async def run() -> int:
        async with endpoint.client() as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        errors().print(interrupted, markup=False)
        return INTERRUPTED


async def _find(client: AsyncPiClient, job_id: str) -> tuple[str, JobStatus, Job[Any, Any]]:
    """The kind, status and handle of a job, looked for in every family."""
    for kind, resource in client.job_resources.items():
        try:
            return kind, await resource.retrieve(job_id), resource.job(job_id)
        except PiStatusError as error:
            if error.status != 404:
                raise
    raise PiUsageError(f"you have no job {job_id!r}; `pi-integrations jobs list` shows your jobs")


async def _message_lines(job: Job[Any, Any]) -> AsyncIterator[str]:
    async for line in job.messages():
        yield shown_message(line)


async def _data_lines(job: Job[Any, Any]) -> AsyncIterator[str]:
    async for item in job.data():
        yield json.dumps(item.model_dump(mode="json", exclude_none=True) if isinstance(item, BaseModel) else item)


def _status_lines(kind: str, status: JobStatus) -> list[str]:
    rows = rows_of(status)
    heading = f"{status.job_id}   {kind}   {status.state}" + (f"   {rows} rows" if rows is not None else "")
    reasons = [visible(reason) for reason in (status.error, getattr(status, "stopped", None)) if reason]
    messages = [f"  {shown_message(line)}" for line in status.detailed_status[-_SHOWN_MESSAGES:]]
    return [heading, *reasons, *figures_lines(status), *messages]


def _print(*lines: str) -> None:
    console = results()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
