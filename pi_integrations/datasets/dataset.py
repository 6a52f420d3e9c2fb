"""`PiDataset`: the rows of a job as they come, and its exports."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_integrations.client import AsyncPiClient, Job, PiClient, SyncJob
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.sync_resources import WaitedStream
from pi_integrations.datasets import exports
from pi_integrations.datasets.rows import DatasetCounts, DatasetRow, JobSource, Kind, RowFilter
from pi_integrations.errors import PiJobFailed
from pi_integrations.models import JobState, SpecLike

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["PiDataset"]

logger = logging.getLogger("pi_integrations.datasets")


class PiDataset:
    """The rows of a synthetic-data job, in the order they are generated; iterate it with `for` or with `async for`.

    Every iteration replays the job from its first row and follows it to its end, from any thread and any loop. The
    first iteration starts the job if it has not been started.

    Args:
        job: Handle that `start_job` or `job(job_id)` returned, of either client.
        job_id: Id of an existing job, in place of `job`.
        start: In place of both, the arguments of `start_job` for a new job.
        kind: `pairs` or `inputs`: the items of the job that `job_id` or `start` names.
        client: Reaches the service and scores rows; default: a client for the endpoint in the environment.
        scoring_spec: Scores every row here, when it comes. Without it rows keep the scores that their job gave them.
        min_score: Lowest total, 0 to 1, of a row that is returned. Rows without scores are left out too, and counted.
        allow_partial: Whether a job that ended in ERROR or was cancelled just ends the iteration, with a warning in
            the log, instead of raising after its last row.

    Raises:
        PiUsageError: when the arguments do not name exactly one job, or the spec or `min_score` is not valid.

    Example:
        ```python
        from pi_integrations import embedded

        with embedded(jobs=True, generator="object:pi_integrations.testing:ScriptedGenerator") as client:
            dataset = PiDataset(client=client, start={"num_pairs_to_generate": 20, "seeds": [("Hi", "Hello!")]})
            for row in dataset:
                print(row.index, row.llm_input, "→", row.llm_output)
        ```
    """

    def __init__(
        self,
        job: Job[Any, Any] | SyncJob[Any, Any] | None = None,
        *,
        job_id: str | None = None,
        start: Mapping[str, Any] | None = None,
        kind: Kind = "pairs",
        client: AsyncPiClient | PiClient | None = None,
        scoring_spec: SpecLike | None = None,
        min_score: float | None = None,
        allow_partial: bool = False,
    ) -> None:
        self._source = JobSource(job, job_id=job_id, start=start, kind=kind, client=client)
        self._filter = RowFilter(self._source, scoring_spec, min_score)
        self._allow_partial = allow_partial

    def __repr__(self) -> str:
        return f"{type(self).__name__}(job_id={self._source.job_id!r})"

    @property
    def job_id(self) -> str | None:
        """The job's id; None while it is not started."""
        return self._source.job_id

    @property
    def counts(self) -> DatasetCounts:
        """Rows returned, below `min_score`, and without scores, in the latest iteration."""
        return self._filter.counts

    async def rows(self, start: int = 0) -> AsyncGenerator[DatasetRow, None]:
        """The rows from number `start` on.

        Raises:
            PiJobFailed: after the last row, when the job ended in ERROR or was cancelled, unless `allow_partial`.
            PiError: when the job cannot be started or followed; see `Job.data`.
        """
        job = await self._source.job()
        async with aclosing(self._filter.kept(_rows(job, start))) as kept:
            async for row in kept:
                yield row
        await self._check_end(job)

    async def _check_end(self, job: Job[Any, Any]) -> None:
        end = await job.snapshot()
        if end.state is JobState.DONE:
            if end.stopped:
                logger.warning("job %s is done with fewer rows than requested: %s", job.job_id, end.stopped)
            return
        message = f"job {job.job_id} ended in {end.state} and its rows may be fewer than requested: {end.error or '-'}"
        if not self._allow_partial:
            raise PiJobFailed(
                f"{message}. The rows before this error are all it made; allow_partial=True takes them as they are",
                job_id=job.job_id,
                state=end.state.value,
            )
        logger.warning("%s", message)

    def __aiter__(self) -> AsyncIterator[DatasetRow]:
        return self.rows()

    def __iter__(self) -> Iterator[DatasetRow]:
        return iter(WaitedStream(self.rows()))

    async def ato_jsonl(self, path: str | Path) -> int:
        """Number of rows appended to `path`, one JSON object a line, each written as it comes.

        A file that holds rows of this job is continued: a torn last row is written again, and no row twice. With
        `min_score`, rows after the last one kept are scored again.

        Raises:
            PiUsageError: when the file holds anything else, another process writes to it, or the disk is full.
            PiError: see `rows`.
        """
        job = await self._source.job()
        return await exports.to_jsonl(Path(path), job.job_id, self.rows)

    def to_jsonl(self, path: str | Path) -> int:
        """See `ato_jsonl`."""
        return loop_thread().run(self.ato_jsonl(path))

    def to_pandas(self) -> pandas.DataFrame:
        """All rows, once the job has ended: a column each for `id`, `llm_input`, `llm_output` and the metadata.

        Raises:
            ImportError: when pandas is not installed.
        """
        return exports.to_pandas(self)

    def to_huggingface(self, *, streaming: bool = False) -> datasets.Dataset | datasets.IterableDataset:
        """A `datasets.Dataset` of all rows, once the job has ended; with `streaming` an `IterableDataset` at once,
        which returns rows as they come.

        Columns: `id`, `job_id`, `index`, `llm_input`, `llm_output`, `total_score`, and `question_scores` as a list of
        `{"question", "score"}`; None where a row has no value.

        Raises:
            ImportError: when datasets is not installed.
        """
        return exports.to_huggingface(self, streaming=streaming)

    def to_langsmith(self, client: Any, dataset_name: str) -> int:
        """Number of examples added to a LangSmith dataset, which is created if it is missing.

        An example is `inputs: {llm_input}`, `outputs: {llm_output}` and the metadata; its id is derived from the row,
        so that a second run adds what is missing and nothing twice.

        Args:
            client: A `langsmith.Client`.
            dataset_name: Name of the dataset.
        """
        return exports.to_langsmith(self, client, dataset_name)


async def _rows(job: Job[Any, Any], start: int) -> AsyncGenerator[DatasetRow, None]:
    index = start
    async with aclosing(job.data(start)) as items:
        async for item in items:
            yield DatasetRow.of(job.job_id, index, item)
            index += 1
