"""`jobs`: look at jobs of every family, follow them, cancel them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from shlex import quote
from typing import Any

from rich.console import Console

from pi_integrations.cli.console import errors, results
from pi_integrations.cli.endpoints import JobEndpoint
from pi_integrations.cli.generation import INTERRUPTED, SHORT
from pi_integrations.cli.job_messages import shown_message
from pi_integrations.cli.job_table import created, figures_lines, jobs_table, rows_of
from pi_integrations.cli.visible import visible
from pi_integrations.client import AsyncPiClient
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.errors import PiStatusError, PiUsageError
from pi_integrations.models import InputResponsePair, JobState, JobStatus

__all__ = ["cancel_job", "follow_job", "list_jobs", "show_job"]

_SHOWN_MESSAGES = 12


def list_jobs(endpoint: JobEndpoint, state: JobState | None) -> int:
    """Prints a table of the caller's jobs; the exit status."""

    async def show(client: AsyncPiClient) -> int:
        found = [(kind, status) for kind, each in _families(client).items() for status in await each.list(state)]
        found.sort(key=lambda job: created(job[1]) or 0.0, reverse=True)
        if found:
            console = results()
            for line in jobs_table(found):
                # Whole for a pipe, in one line of its width for a terminal.
                console.print(line, no_wrap=True, overflow="ellipsis" if console.is_terminal else "ignore", crop=False)
        else:
            errors().print("No jobs." if state is None else f"No jobs in {state}.")
        return 0

    return _run(endpoint, show)


def show_job(endpoint: JobEndpoint, job_id: str) -> int:
    """Prints a job's state, figures and last messages; the exit status."""

    async def show(client: AsyncPiClient) -> int:
        kind, status, _ = await _found(client, job_id)
        _print(*_lines(kind, status))
        return 0

    return _run(endpoint, show)


def follow_job(endpoint: JobEndpoint, job_id: str, *, data: bool) -> int:
    """Prints a job's messages, or its rows, from the first on and as they come; 0 once it is DONE, else 3."""

    async def follow(client: AsyncPiClient) -> int:
        kind, status, job = await _found(client, job_id)
        if endpoint.idle and status.state in (JobState.QUEUED, JobState.RUNNING):
            _say_that_nobody_works(endpoint, kind, status)
        async for line in _data_lines(job) if data else _message_lines(job):
            _print(line)
        last = (await job.status()).state
        return 0 if last is JobState.DONE else SHORT

    cancel = f"pi-integrations jobs cancel {quote(job_id)}{endpoint.flags()}"
    return _run(endpoint, follow, interrupted=f"Interrupted. The job is not; to end it: {cancel}")


def _say_that_nobody_works(endpoint: JobEndpoint, kind: str, status: JobStatus) -> None:
    again = f"pi-integrations generate {kind} --job {quote(status.job_id)} --generator GENERATOR{endpoint.flags()}"
    errors().print(
        f"The job is {status.state}, and this command does not work on it: its engine has no generator. More comes only"
        f" while another engine on {endpoint.folder} has one. To go on with it:\n  {visible(again)}",
        markup=False,
    )


def cancel_job(endpoint: JobEndpoint, job_id: str) -> int:
    """Ends a job, which keeps what it made; the exit status."""

    async def cancel(client: AsyncPiClient) -> int:
        _, _, job = await _found(client, job_id)
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


def _families(client: AsyncPiClient) -> dict[str, JobResource[Any, Any, Any]]:
    return {"pairs": client.data.generate_input_response_pairs, "inputs": client.data.generate}


async def _found(client: AsyncPiClient, job_id: str) -> tuple[str, JobStatus, Job[Any, Any]]:
    """The kind, status and handle of a job whose family is not known."""
    for kind, family in _families(client).items():
        try:
            return kind, await family.retrieve(job_id), family.job(job_id)
        except PiStatusError as error:
            if error.status != 404:
                raise
    raise PiUsageError(f"no job {job_id!r} of yours is there; `pi-integrations jobs list` shows those that are")


async def _message_lines(job: Job[Any, Any]) -> AsyncIterator[str]:
    async for line in job.messages():
        yield shown_message(line)


async def _data_lines(job: Job[Any, Any]) -> AsyncIterator[str]:
    async for item in job.data():
        value = item.model_dump(mode="json", exclude_none=True) if isinstance(item, InputResponsePair) else item
        yield json.dumps(value)


def _lines(kind: str, status: JobStatus) -> list[str]:
    stopped = getattr(status, "stopped", None)
    rows = rows_of(status)
    told = [f"{status.job_id}   {kind}   {status.state}" + (f"   {rows} rows" if rows is not None else "")]
    told += [visible(reason) for reason in (status.error, stopped) if reason]
    told += figures_lines(status)
    return told + [f"  {shown_message(line)}" for line in status.detailed_status[-_SHOWN_MESSAGES:]]


def _print(*lines: str) -> None:
    console: Console = results()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
