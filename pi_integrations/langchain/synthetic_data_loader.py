"""`PiSyntheticDataLoader`: generated pairs or inputs as LangChain documents, as they are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from pi_integrations.client import AsyncPiClient, Job, PiClient, SyncJob
from pi_integrations.datasets import DatasetRow, PiDataset
from pi_integrations.datasets.rows import Kind
from pi_integrations.errors import PiUsageError
from pi_integrations.models import SpecLike

__all__ = ["PiSyntheticDataLoader"]


class PiSyntheticDataLoader(BaseLoader):
    """Loads the rows of a synthetic-data job: one that is there already, or one it starts when first loaded from.

    Documents come one by one as the job makes them. The content of each is `content_key`; its metadata are `job_id`,
    `index`, `llm_input`, `llm_output` where there is one, and with scores `total_score` and `question_scores`. Loading
    twice replays the same job.

    Args:
        job: What `start_job` or `job(job_id)` returned.
        job_id: Of a job that exists, in place of `job`.
        start: In place of both, the arguments of `start_job` for a new job.
        kind: `pairs` or `inputs`: what a job that is named or started makes.
        client: Reaches the service; default: a client for the endpoint in the environment.
        content_key: `llm_input` (default) or `llm_output`: which of the two is the content.
        format_content: Makes the content of the row instead.
        scoring_spec: Scores every pair when it comes.
        min_score: Lowest total, 0 to 1, of a pair that is loaded.
        allow_partial: Whether a job that ended in ERROR or was cancelled just ends the loading, with a warning.

    Raises:
        PiUsageError: when the arguments do not say one job, or cannot be scored by.
        PiJobFailed: when loading, after the last row, when the job ended in ERROR or was cancelled.

    Example:
        ```python
        from pi_integrations import embedded

        with embedded(jobs=True, generator="object:pi_integrations.testing:ScriptedGenerator") as client:
            loader = PiSyntheticDataLoader(client=client, start={"num_pairs_to_generate": 5, "seeds": []})
            for document in loader.lazy_load():
                print(document.metadata["index"], document.page_content)
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
        content_key: str = "llm_input",
        format_content: Callable[[DatasetRow], str] | None = None,
        scoring_spec: SpecLike | None = None,
        min_score: float | None = None,
        allow_partial: bool = False,
    ) -> None:
        if content_key not in ("llm_input", "llm_output"):
            raise PiUsageError(f"content_key is {content_key!r}; give llm_input or llm_output")
        self.dataset = PiDataset(
            job,
            job_id=job_id,
            start=start,
            kind=kind,
            client=client,
            scoring_spec=scoring_spec,
            min_score=min_score,
            allow_partial=allow_partial,
        )
        self._content_key = content_key
        self._format_content = format_content

    def lazy_load(self) -> Iterator[Document]:
        """Documents as the job makes them."""
        for row in self.dataset:
            yield self._document(row)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """Documents as the job makes them, on the caller's loop."""
        rows = self.dataset.rows()
        try:
            async for row in rows:
                yield self._document(row)
        finally:
            await rows.aclose()

    def _document(self, row: DatasetRow) -> Document:
        content = self._format_content(row) if self._format_content else getattr(row, self._content_key)
        if content is None:
            raise PiUsageError("content_key is llm_output, but a job of inputs makes none; leave it at llm_input")
        metadata = {key: value for key, value in row.as_dict().items() if key != "id"}
        return Document(id=row.id, page_content=content, metadata=metadata)
