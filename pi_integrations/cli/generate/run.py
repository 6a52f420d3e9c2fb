"""Starts a job or goes on with one, writes its rows as they come, and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from pi_integrations.cli.console import errors, results
from pi_integrations.cli.generate.plan import Plan
from pi_integrations.cli.generate.progress import GenerationProgress
from pi_integrations.cli.generate.rows_file import RowsFile, RowsStream
from pi_integrations.cli.job_endpoint import JobEndpoint
from pi_integrations.cli.tables.jobs import figures_lines
from pi_integrations.cli.visible import visible
from pi_integrations.client import AsyncPiClient
from pi_integrations.client.jobs import Job
from pi_integrations.datasets import DatasetRow
from pi_integrations.errors import PiUsageError
from pi_integrations.models import JobState

__all__ = ["INTERRUPTED", "SHORT", "run_generation"]

SHORT, INTERRUPTED = 3, 130
_LOOK_SECONDS = 1.0


def run_generation(plan: Plan, endpoint: JobEndpoint, output: Path, *, job_id: str | None = None) -> int:
    """The exit status after the job has ended: 0 when it made all, 3 when it did not, 130 when this was interrupted.

    Args:
        plan: What to generate; of a job that is gone on with, its kind alone matters.
        endpoint: Who generates.
        output: Where the rows go, after those that are there; `-` is standard output, where nothing else goes then.
        job_id: Of a job that was started before.

    Raises:
        PiUsageError: for a wrong option, seed or file.
        PiError: when the service refuses, or cannot be reached.
    """
    if job_id is not None and not plan.empty:
        raise PiUsageError("--job goes on with a job as it was asked for; leave out what describes a new one")
    with RowsStream() if str(output) == "-" else RowsFile(output) as rows:
        generation = _Generation(plan, endpoint, rows, output, job_id)
        try:
            status = asyncio.run(generation.run())
        except KeyboardInterrupt:
            generation.say_how_to_go_on()
            return INTERRUPTED
        except BrokenPipeError:
            generation.say_how_to_go_on()
            raise
    return generation.report(status)


class _Generation:
    def __init__(
        self, plan: Plan, endpoint: JobEndpoint, rows: RowsFile | RowsStream, output: Path, job_id: str | None
    ) -> None:
        self._plan = plan
        self._endpoint = endpoint
        self._rows = rows
        self._output = output
        self._job_id = job_id
        self._console = errors()

    async def run(self) -> Any:
        """The status of the job, which has ended."""
        # Read before an engine is started for it.
        request = None if self._job_id else self._plan.request()
        async with self._endpoint.client() as client:
            family = self._plan.resource(client)
            if request is None:
                job = family.job(str(self._job_id))
            else:
                job = await self._plan.start(client, request)
                self._job_id = job.job_id
                self._say(f"Job {job.job_id} makes {self._plan.noun} into {self._rows.name}.")
            return await self._follow(client, job)

    async def _follow(self, client: AsyncPiClient, job: Job[Any, Any]) -> Any:
        made = self._rows.count(job.job_id)
        if made:
            self._say(f"Going on behind the {made} rows in {self._rows.name}.")
        with GenerationProgress(self._console, total=self._plan.num, noun=self._plan.noun, made=made) as progress:
            looking = asyncio.create_task(self._look(client, job.job_id, progress))
            try:
                await _together(
                    lambda: self._take_rows(job, made, progress), lambda: self._take_messages(job, progress)
                )
            finally:
                looking.cancel()
                await asyncio.wait([looking])
        return await job.status()

    async def _take_rows(self, job: Job[Any, Any], start: int, progress: GenerationProgress) -> None:
        index = start
        async for item in job.data(start):
            self._rows.write(DatasetRow.of(job.job_id, index, item).as_dict())
            progress.row()
            index += 1

    async def _take_messages(self, job: Job[Any, Any], progress: GenerationProgress) -> None:
        async for line in job.messages():
            progress.message(line)

    async def _look(self, client: AsyncPiClient, job_id: str, progress: GenerationProgress) -> None:
        """Asks for the job's figures now and then; they are a list's, which leaves the rows out."""
        if not self._console.is_terminal:
            return
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for status in await self._plan.resource(client).list(JobState.RUNNING):
                if status.job_id == job_id and status.figures is not None:
                    progress.figures(status.figures)

    def report(self, status: Any) -> int:
        """Prints what became of the job; the exit status."""
        console: Console = self._console if isinstance(self._rows, RowsStream) else results()
        for line in figures_lines(status):
            console.print(line, markup=False, soft_wrap=True)
        count = self._rows.count(status.job_id)
        console.print(
            f"Rows: {self._rows.name} ({count} of this job)   Job: {status.job_id}", markup=False, soft_wrap=True
        )
        if status.state is JobState.DONE and not status.stopped and count >= (self._plan.num or 0):
            return 0
        why = status.error or status.stopped or f"it made {count} of {self._plan.num}"
        self._console.print(f"The job is {status.state}: {visible(why)}", style="bold red", markup=False)
        return SHORT

    def say_how_to_go_on(self) -> None:
        """After Ctrl+C."""
        if self._job_id is None:
            self._say("Interrupted before the job was started.")
            return
        flags, output = self._endpoint.flags(), quote(str(self._output))
        again = f"pi-integrations generate {self._plan.noun} --job {self._job_id} --output {output}{flags}"
        if self._endpoint.beside:
            cancel = f"pi-integrations jobs cancel {self._job_id} --data-dir {quote(str(self._endpoint.folder))}"
            self._say(
                f"Interrupted. The job has not ended: the next engine on {self._endpoint.folder} that has a generator"
                f" goes on with it, whatever it is started for. To go on now, or to end it for good:\n"
                f"  {again}\n  {cancel}"
            )
        else:
            follow = f"pi-integrations jobs follow {self._job_id}{flags}"
            self._say(f"Interrupted. The job goes on. To follow it, and to take in the rest:\n  {follow}\n  {again}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


async def _together(*works: Callable[[], Awaitable[None]]) -> None:
    """Runs all at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
