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
from typing import IO, Any, Self

from pydantic import ValidationError

from pi_integrations.cli.held_file import HeldFile
from pi_integrations.cli.rows import InputRow
from pi_integrations.datasets.jsonl_file import is_torn
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreResult
from pi_integrations.statistics.summary import ScoredRow

__all__ = ["OutputFile", "run_digest"]


def run_digest(**parts: Any) -> str:
    """16 hexadecimal digits that stand for `parts`, which are JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class OutputFile:
    """Appends scored rows to `path`, and knows the rows that a former run left there.

    Raises:
        PiUsageError: when the file holds another run and `overwrite` is False, cannot be written, or is being written
            to.
    """

    def __init__(self, path: Path, run: str, *, overwrite: bool) -> None:
        self._path = path
        self._run = run
        self._kept: dict[int, int] = {}
        self._whole = 0
        self._reader: IO[bytes] | None = None
        self._writer: IO[bytes] | None = None
        if path.exists() and not path.is_file():
            raise PiUsageError(f"{path} is not a regular file; choose another --output")
        try:
            self._held = HeldFile(path)
        except OSError as error:
            raise self._failed(error) from None
        try:
            if not overwrite:
                self._take_stock()
        except BaseException as error:
            self._let_go()
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise

    @property
    def kept(self) -> int:
        """How many scored rows a former run left."""
        return len(self._kept)

    def _take_stock(self) -> None:
        """Notes where the scored rows of a former run are; failed rows and a line that was cut off are not kept.

        Raises:
            PiUsageError: when the file holds anything else; it is left as it is.
        """
        self._reader = self._path.open("rb")
        for line in self._reader:
            entry = _entry(line)
            if is_torn(line, '{"row": '):
                break
            if entry is None or not isinstance(entry.get("row"), int) or "run" not in entry:
                raise PiUsageError(
                    f"{self._path} is not a file of scores; choose another --output, or --overwrite to replace it"
                )
            if entry["run"] != self._run:
                raise PiUsageError(
                    f"{self._path} holds scores of another run (another spec, mean, policy or endpoint); give another"
                    " --output, or --overwrite to replace them"
                )
            if "scores" in entry:
                self._kept[entry["row"]] = self._whole
            self._whole += len(line)

    def former(self, row: InputRow) -> ScoreResult | None:
        """The scores a former run gave this very row."""
        place = self._kept.get(row.number)
        if place is None or row.error or self._reader is None:
            return None
        self._reader.seek(place)
        entry = _entry(self._reader.readline())
        if entry is None or (entry.get("llm_input"), entry.get("llm_output")) != (row.llm_input, row.llm_output):
            return None
        try:
            return ScoreResult.model_validate(entry["scores"])
        except ValidationError:
            return None

    def write(self, row: ScoredRow) -> None:
        """Appends one row, whole and at once; nothing is touched before the first.

        Raises:
            PiUsageError: when the disk does not take it; what is there stays, and the same command goes on from it.
        """
        line = json.dumps(_line(row, self._run), allow_nan=False).encode() + b"\n"
        try:
            if self._writer is None:
                self._writer = self._begin()
            self._writer.write(line)
            self._writer.flush()
        except OSError as error:
            raise self._failed(error) from None

    def _begin(self) -> IO[bytes]:
        """The file, open for appending: empty, or with the scored rows of the former run and nothing else."""
        if self._reader is None:
            return self._path.open("wb")
        draft = self._path.with_name(self._path.name + ".resume")
        with draft.open("wb") as new:
            for place in self._kept.values():
                self._reader.seek(place)
                new.write(self._reader.readline())
        self._held.replace_with(draft)
        return self._path.open("ab")

    def _let_go(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._held.release()

    def _failed(self, error: OSError) -> PiUsageError:
        return PiUsageError(
            f"cannot write {self._path}: {error.strerror}. Choose another --output, or make room and run the same"
            " command again, which goes on where it stopped"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as failed:
            if error is None:
                raise self._failed(failed) from None
        finally:
            self._let_go()


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
