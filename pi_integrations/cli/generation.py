"""`generate`: starts a job or continues one, writes its rows as they come, and reports its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from pi_integrations.cli.console import errors, results, shown_message
from pi_integrations.cli.endpoints import JobEndpoint
from pi_integrations.cli.generated_rows import RowsFile, RowsStream
from pi_integrations.cli.generation_plan import GenerationPlan
from pi_integrations.cli.job_table import figures_lines
from pi_integrations.client import Job, JobResource
from pi_integrations.datasets import DatasetRow
from pi_integrations.errors import PiUsageError
from pi_integrations.models import GenerationFigures, JobState
from pi_integrations.reports.text import visible

__all__ = ["INTERRUPTED", "NOT_DONE", "run_generation"]

NOT_DONE, INTERRUPTED = 3, 130
_FIGURES_SECONDS = 1.0
_MESSAGE_CHARACTERS = 200


def run_generation(plan: GenerationPlan, endpoint: JobEndpoint, output: Path, *, job_id: str | None = None) -> int:
    """The exit status after the job has ended: 0 when it made all items, 3 when not, 130 when interrupted.

    Args:
        plan: What to generate; for a job that is continued, only its kind matters.
        endpoint: Where to generate.
        output: File to which the rows are appended; `-` is standard output, which then takes nothing else.
        job_id: Job to continue; None starts one.

    Raises:
        PiUsageError: for a wrong option, seed or file.
        PiError: when the service refuses, or cannot be reached.
    """
    if job_id is not None and not plan.empty:
        raise PiUsageError("--job continues a job as it was started; leave out the options that describe a new one")
    with RowsStream() if str(output) == "-" else RowsFile(output) as rows:
        generation = _Generation(plan, endpoint, rows, output, job_id)
        try:
            status = asyncio.run(generation.run())
        except KeyboardInterrupt:
            generation.say_how_to_continue()
            return INTERRUPTED
        except BrokenPipeError:
            generation.say_how_to_continue()
            raise
    return generation.report(status)


class _Generation:
    def __init__(
        self,
        plan: GenerationPlan,
        endpoint: JobEndpoint,
        rows: RowsFile | RowsStream,
        output: Path,
        job_id: str | None,
    ) -> None:
        self._plan = plan
        self._endpoint = endpoint
        self._rows = rows
        self._output = output
        self._job_id = job_id
        self._console = errors()

    async def run(self) -> Any:
        """The status of the job, which has ended."""
        # Before an engine is started: a wrong option ends the command at once.
        request = None if self._job_id else self._plan.request()
        async with self._endpoint.client() as client:
            resource = client.job_resources[self._plan.kind]
            if request is None:
                job = resource.job(str(self._job_id))
            else:
                job = await resource.start_job(**request)
                self._job_id = job.job_id
                self._say(f"Job {job.job_id} makes {self._plan.kind} into {self._rows.name}.")
            return await self._follow(resource, job)

    async def _follow(self, resource: JobResource[Any, Any, Any], job: Job[Any, Any]) -> Any:
        made = self._rows.count(job.job_id)
        if made:
            self._say(f"Continuing: {made} rows are already in {self._rows.name}.")
        with _GenerationProgress(self._console, total=self._plan.num, kind=self._plan.kind, made=made) as progress:
            figures = asyncio.create_task(self._show_figures(resource, job.job_id, progress))
            try:
                await _together(
                    lambda: self._write_rows(job, made, progress), lambda: self._show_messages(job, progress)
                )
            finally:
                figures.cancel()
                await asyncio.wait([figures])
        return await job.status()

    async def _write_rows(self, job: Job[Any, Any], start: int, progress: _GenerationProgress) -> None:
        index = start
        async for item in job.data(start):
            self._rows.write(DatasetRow.of(job.job_id, index, item).as_dict())
            progress.add_row()
            index += 1

    async def _show_messages(self, job: Job[Any, Any], progress: _GenerationProgress) -> None:
        async for line in job.messages():
            progress.show_message(line)

    async def _show_figures(
        self, resource: JobResource[Any, Any, Any], job_id: str, progress: _GenerationProgress
    ) -> None:
        if not self._console.is_terminal:
            return
        while True:
            await asyncio.sleep(_FIGURES_SECONDS)
            # The list, not the job's status: a status carries all rows made so far.
            for status in await resource.list(JobState.RUNNING):
                if status.job_id == job_id and status.figures is not None:
                    progress.show_figures(status.figures)

    def report(self, status: Any) -> int:
        """Prints the figures of the job, and what is missing; the exit status."""
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
        return NOT_DONE

    def say_how_to_continue(self) -> None:
        """Prints the commands that continue the interrupted job, and that end it."""
        if self._job_id is None:
            self._say("Interrupted before the job was started.")
            return
        options, output = self._endpoint.options(), quote(str(self._output))
        again = f"pi-integrations generate {self._plan.kind} --job {self._job_id} --output {output}{options}"
        if self._endpoint.starts_engine:
            folder = self._endpoint.job_folder
            cancel = f"pi-integrations jobs cancel {self._job_id} --data-dir {quote(str(folder))}"
            self._say(
                f"Interrupted. The job has not ended: the next engine on {folder} that has a generator continues it,"
                f" whatever that engine is started for. To continue now, or to end the job for good:\n"
                f"  {again}\n  {cancel}"
            )
        else:
            follow = f"pi-integrations jobs follow {self._job_id}{options}"
            self._say(f"Interrupted. The job continues. To follow it, or to fetch the rest:\n  {follow}\n  {again}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


class _GenerationProgress:
    """Progress of a generation: one live line on a terminal, plain lines elsewhere.

    Args:
        console: Where it is shown.
        total: Number of items that the job makes; None when not known.
        kind: `pairs` or `inputs`.
        made: Number of items that exist already.
    """

    def __init__(self, console: Console, *, total: int | None, kind: str, made: int) -> None:
        self._console = console
        self._live = console.is_terminal
        self._made = made
        self._new = 0
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn(
                "{task.fields[message]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            transient=True,
            expand=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task(kind, total=total, completed=made, counts="", message="")
        self._rejected = ""

    def add_row(self) -> None:
        """Counts one more row."""
        self._made += 1
        self._new += 1
        self._update()

    def show_figures(self, figures: GenerationFigures) -> None:
        """Shows the job's own counts."""
        self._rejected = f"{figures.bad} bad, {figures.similar} similar, "
        self._update()

    def show_message(self, line: str) -> None:
        """Shows a message line of the job."""
        text = shown_message(line)
        if self._live:
            self._progress.update(self._task, message=text[:_MESSAGE_CHARACTERS])
        else:
            self._console.print(text, markup=False, soft_wrap=True)

    def _update(self) -> None:
        if self._live:
            rate = self._new / max(time.monotonic() - self._began, 0.001)
            self._progress.update(self._task, completed=self._made, counts=f"{self._rejected}{rate:.1f}/s")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


async def _together(*works: Callable[[], Awaitable[None]]) -> None:
    """Runs all at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
