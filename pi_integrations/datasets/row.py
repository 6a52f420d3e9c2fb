"""One row of a dataset: a generated pair or input, with where it came from and what it scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pi_integrations.models import InputResponsePair, ScoreResult

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One generated item.

    Attributes:
        job_id: The job that made it.
        index: Its place among the job's items, from 0; with `job_id` it names the row for good.
        llm_input: What the application is asked.
        llm_output: What it answers; None for jobs that make inputs alone.
        scores: Its scores, by the job's scoring spec or by the dataset's; None without either.
    """

    job_id: str
    index: int
    llm_input: str
    llm_output: str | None = None
    scores: ScoreResult | None = None

    @classmethod
    def of(cls, job_id: str, index: int, item: InputResponsePair | str) -> Row:
        """The row of an item of a job's data stream."""
        if isinstance(item, str):
            return cls(job_id, index, item)
        return cls(job_id, index, item.llm_input, item.llm_output, item.scores)

    @property
    def id(self) -> str:
        """`JOB_ID-INDEX`."""
        return f"{self.job_id}-{self.index}"

    @property
    def metadata(self) -> dict[str, Any]:
        """`job_id` and `index`; with scores also `total_score` and `question_scores`, a score or None by label."""
        values: dict[str, Any] = {"job_id": self.job_id, "index": self.index}
        if self.scores is not None:
            values["total_score"] = self.scores.total_score
            values["question_scores"] = {each.key: each.score for each in self.scores.questions()}
        return values

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values: `id`, `llm_input`, `llm_output` where there is one, then the metadata."""
        output = {} if self.llm_output is None else {"llm_output": self.llm_output}
        return {"id": self.id, "llm_input": self.llm_input, **output, **self.metadata}
