"""The scores of a run as JSON lines, written as they come, so that an interrupted run continues where it stopped.

Every line names its run: a digest of the spec, the mean, the policy and the endpoint. A run continues only from lines
of its own; rows whose text changed are scored again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from pi_integrations.cli.rows import InputRow
from pi_integrations.files import ResumableJsonl
from pi_integrations.models import ScoreResult
from pi_integrations.statistics.summary import ScoredRow

__all__ = ["OutputFile"]


class OutputFile:
    """Appends scored rows to `path`, and knows the rows that a former run left there.

    Raises:
        PiUsageError: when the file holds something else and `overwrite` is False, cannot be written, or is being
            written to.
    """

    def __init__(self, path: Path, run: str, *, overwrite: bool) -> None:
        self._run = run
        self._kept: dict[int, int] = {}
        self._is_begun = overwrite
        # Rows are looked up in the thread that reads them, and written in another.
        self._lock = threading.Lock()
        self._file = ResumableJsonl(
            path,
            None if overwrite else self._check,
            head='{"row": ',
            other="another --output",
            resume="run the same command again, which continues where it stopped",
        )

    def _check(self, entry: dict[str, Any], offset: int) -> str | None:
        """Notes the rows that have scores; failed ones are scored again."""
        number = entry.get("row")
        if not isinstance(number, int) or "run" not in entry:
            return "is not a row of scores; choose another --output, or --overwrite to replace the file"
        if entry["run"] != self._run:
            return (
                "holds scores of another run (another spec, mean, policy or endpoint); choose another --output, or"
                " --overwrite to replace the file"
            )
        if "scores" in entry:
            self._kept[number] = offset
        return None

    @property
    def kept(self) -> int:
        """How many scored rows a former run left."""
        return len(self._kept)

    def former(self, row: InputRow) -> ScoreResult | None:
        """The scores that a former run gave to this row, if its texts are the same."""
        with self._lock:
            if row.error or row.number not in self._kept:
                return None
            entry = self._file.entry_at(self._kept[row.number])
        # The row's number alone does not say so: the input file may have been edited between the runs.
        if (entry.get("llm_input"), entry.get("llm_output")) != (row.llm_input, row.llm_output):
            return None
        try:
            return ScoreResult.model_validate(entry["scores"])
        except ValidationError:
            return None

    def write(self, row: ScoredRow) -> None:
        """Appends one row; the first one also removes the rows that a former run could not score.

        Raises:
            PiUsageError: when the disk does not take it; the rows before it stay.
        """
        with self._lock:
            if not self._is_begun:
                places = self._file.keep_only(self._kept.values())
                self._kept = dict(zip(self._kept, places, strict=True))
                self._is_begun = True
        self._file.append(_line(row, self._run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)


def _line(row: ScoredRow, run: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "row": row.number,
        **({} if row.id is None else {"id": row.id}),
        **({} if row.label is None else {"label": row.label}),
        "llm_input": row.llm_input,
        "llm_output": row.llm_output,
        **({"extra": dict(row.extra)} if row.extra else {}),
    }
    if row.result:
        line["scores"] = row.result.model_dump(mode="json", exclude_none=True)
    else:
        line["error"] = row.error
    return line | {"run": run}
