"""The scores of a run as JSON lines, written as they come, so that a broken run can go on where it stopped.

Every line names its run: a digest of the spec, the mean, the policy and the endpoint. A run goes on only from lines of
its own; rows whose text changed are scored again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from pi_integrations.cli.rows import Row
from pi_integrations.cli.summary import ScoredRow
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreResult

__all__ = ["OutputFile", "run_digest"]


def run_digest(**parts: Any) -> str:
    """16 hexadecimal digits that stand for `parts`, which are JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class OutputFile:
    """Appends scored rows to `path`, and knows the rows that a former run left there.

    Raises:
        PiUsageError: when the file holds another run and `overwrite` is False, or cannot be written.
    """

    def __init__(self, path: Path, run: str, *, overwrite: bool) -> None:
        self._path = path
        self._run = run
        self._kept: dict[int, int] = {}
        try:
            if overwrite or not path.exists():
                path.write_bytes(b"")
            else:
                self._keep_whole_lines()
            self._reader = path.open("rb")
            self._writer = path.open("ab")
        except OSError as error:
            raise PiUsageError(f"cannot write {path}: {error.strerror}; choose another --output") from None

    @property
    def kept(self) -> int:
        """How many scored rows a former run left."""
        return len(self._kept)

    def _keep_whole_lines(self) -> None:
        """Copies the scored rows of a former run, without failed rows and without a line that was cut off."""
        draft = self._path.with_name(self._path.name + ".resume")
        with self._path.open("rb") as old, draft.open("wb") as new:
            for line in old:
                entry = _entry(line)
                if entry is None:
                    continue
                if entry.get("run") != self._run:
                    draft.unlink()
                    raise PiUsageError(
                        f"{self._path} holds scores of another run (another spec, mean, policy or endpoint); give"
                        " another --output, or --overwrite to replace them"
                    )
                if "scores" in entry and isinstance(entry.get("row"), int):
                    self._kept[entry["row"]] = new.tell()
                    new.write(line)
        draft.replace(self._path)

    def former(self, row: Row) -> ScoreResult | None:
        """The scores a former run gave this very row."""
        place = self._kept.get(row.number)
        if place is None or row.error:
            return None
        self._reader.seek(place)
        entry = _entry(self._reader.readline())
        if entry is None or (entry["llm_input"], entry["llm_output"]) != (row.llm_input, row.llm_output):
            return None
        try:
            return ScoreResult.model_validate(entry["scores"])
        except ValidationError:
            return None

    def write(self, row: ScoredRow) -> None:
        """Appends one row, whole and at once.

        Raises:
            PiUsageError: when the disk does not take it; what is there stays, and the same command goes on from it.
        """
        line = json.dumps(_line(row, self._run), allow_nan=False).encode() + b"\n"
        try:
            self._writer.write(line)
            self._writer.flush()
        except OSError as error:
            raise PiUsageError(
                f"cannot write to {self._path}: {error.strerror}; free some space and run the same command again, which"
                " goes on where it stopped"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        try:
            self._writer.close()
        except OSError:
            if error is None:
                raise


def _entry(line: bytes) -> dict[str, Any] | None:
    """The object on a whole line; None for one that was cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _line(row: ScoredRow, run: str) -> dict[str, Any]:
    given: Mapping[str, Any] = {"id": row.id, "label": row.label}
    line = {
        "row": row.number,
        **{name: value for name, value in given.items() if value is not None},
        "llm_input": row.llm_input,
        "llm_output": row.llm_output,
        **({"extra": dict(row.extra)} if row.extra else {}),
    }
    if row.result:
        line["scores"] = row.result.model_dump(mode="json", exclude_none=True)
    else:
        line["error"] = row.error
    return line | {"run": run}
