"""The exchanges of a JSONL or CSV file, read as a stream, with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pi_integrations.cli.records import RawRecord, RecordFormat, csv_records, json_type, jsonl_records
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreResult
from pi_integrations.statistics.summary import ScoredRow

__all__ = ["FIELDS", "InputRow", "is_positive", "parse_columns", "read_rows"]

FIELDS = ("id", "llm_input", "llm_output", "label")
"""The fields of a row; `--column FIELD=NAME` gives the column of one."""

_NEEDED = ("llm_input", "llm_output")
_FORMATS: dict[str, RecordFormat] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
_LABELS = {"good": True, "true": True, "bad": False, "false": False}
_LABELS_READ = "good or bad, true or false, 1 or 0, or a number from 0 to 1 (0.5 and above is good)"


@dataclass(frozen=True, slots=True)
class InputRow:
    """One exchange of a file, or the `error` that keeps it from being scored.

    Attributes:
        number: The line of a JSONL file, or the data row of a CSV file, from 1.
        id: The row's own name, if it has one.
        llm_input: The application's input; may be empty.
        llm_output: The application's answer.
        label: The label as written in the file; None without one.
        positive: True for a row labelled good, False for one labelled bad, None without a label.
        extra: The other columns, which are copied to the output.
        error: What is wrong with the row, where, and what to do; the texts are then empty.
    """

    number: int
    id: str | None = None
    llm_input: str = ""
    llm_output: str = ""
    label: str | float | bool | None = None
    positive: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    def scored(self, result: ScoreResult | None = None, error: str | None = None) -> ScoredRow:
        """The row with its result or error; its own error, if it has one, comes first."""
        return ScoredRow(
            number=self.number,
            id=self.id,
            llm_input=self.llm_input,
            llm_output=self.llm_output,
            label=self.label,
            positive=self.positive,
            result=result,
            error=self.error or error,
            extra=self.extra,
        )


def parse_columns(assignments: Iterable[str]) -> dict[str, str]:
    """`["llm_output=answer"]` as `{"llm_output": "answer"}`.

    Raises:
        PiUsageError: for anything but FIELD=NAME with a known field.
    """
    columns: dict[str, str] = {}
    for assignment in assignments:
        name, separator, column = assignment.partition("=")
        if not separator or not column:
            raise PiUsageError(f"--column {assignment!r} is not FIELD=NAME; write for example llm_output=answer")
        columns[name.strip()] = column.strip()
    return _checked(columns)


def read_rows(
    source: Path | IO[str] | IO[bytes],
    *,
    format: RecordFormat | None = None,
    columns: Mapping[str, str] | None = None,
    needed: Sequence[str] = _NEEDED,
) -> Iterator[InputRow]:
    """The rows of `source` in order, as they are read; a malformed row carries its `error`, and reading continues.

    The format is `format`, else that of the file's suffix, else JSONL. Text is UTF-8, with or without a byte order
    mark; blank lines are skipped. Memory holds one row at a time, and a row has at most 64 MiB.

    Args:
        source: A file, or an open stream.
        format: `jsonl` or `csv`.
        columns: The column of a field, where it differs: `{"llm_output": "answer"}`. A column named for `label` must
            hold labels; one that only happens to be called `label` may hold anything.
        needed: Texts that each row must have; others are empty where they are missing.

    Raises:
        PiUsageError: for an unknown field in `columns`, a file that cannot be opened, or a CSV file without the columns
            needed.
    """
    reader = _RowReader(_checked(columns or {}), needed)
    if isinstance(source, Path):
        return reader.read_file(source, format or _FORMATS.get(source.suffix.lower(), "jsonl"))
    return reader.read_stream(source, format or "jsonl")


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    for name in columns:
        if name not in FIELDS:
            raise PiUsageError(f"--column {name}=…: there is no field {name!r}; the fields are {', '.join(FIELDS)}")
    return dict(columns)


class _RowReader:
    """Reads rows whose fields are in the named `columns`."""

    def __init__(self, columns: Mapping[str, str], needed: Sequence[str]) -> None:
        self._named = columns
        self._columns = {name: name for name in FIELDS} | dict(columns)
        self._needed = needed

    def read_file(self, path: Path, format: RecordFormat) -> Iterator[InputRow]:
        try:
            with path.open("rb") as stream:
                yield from self.read_stream(stream, format)
        except OSError as error:
            raise PiUsageError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from None
        except PiUsageError as error:
            raise PiUsageError(f"{path}: {error}") from None

    def read_stream(self, stream: IO[str] | IO[bytes], format: RecordFormat) -> Iterator[InputRow]:
        needed = tuple(self._columns[name] for name in FIELDS if name in self._needed or name in self._named)
        yield from map(self._row, csv_records(stream, needed=needed) if format == "csv" else jsonl_records(stream))

    def _row(self, record: RawRecord) -> InputRow:
        if record.error:
            return InputRow(record.number, error=record.error)
        values, columns = record.values, self._columns
        label = values.get(columns["label"])
        try:
            _check_characters(values)
            return InputRow(
                number=record.number,
                id=_id(values.get(columns["id"])),
                llm_input=self._text(values, "llm_input"),
                llm_output=self._text(values, "llm_output"),
                label=label,
                positive=self._positive(label),
                extra={name: value for name, value in values.items() if name not in columns.values()},
            )
        except ValueError as error:
            return InputRow(record.number, id=_readable_id(values.get(columns["id"])), error=f"{record.where}: {error}")

    def _text(self, values: Mapping[str, Any], name: str) -> str:
        column = self._columns[name]
        value = values.get(column)
        if isinstance(value, str):
            return value
        if value is None and name not in self._needed:
            return ""
        if column not in values:
            found = ", ".join(map(repr, list(values)[:20])) or "nothing"
            raise ValueError(
                f"{column} is missing (found: {found}); add it, or name your column with --column {name}=NAME"
            )
        raise ValueError(f"{column} is {json_type(value)}, not a string; put the text in quotes")

    def _positive(self, label: object) -> bool | None:
        try:
            return is_positive(label)
        except ValueError:
            if "label" in self._named:
                raise
            return None


def is_positive(label: object) -> bool | None:
    """True for the label of a good exchange, False for that of a bad one, None without a label (None or blank).

    Reads words in either case, booleans, and numbers in [0, 1], of which 0.5 and above are good.

    Raises:
        ValueError: for anything else, with the labels that are read.
    """
    if label is None or isinstance(label, bool):
        return label
    if isinstance(label, str):
        return _positive_from_text(label.strip())
    if isinstance(label, int | float):
        return _positive_from_number(label, label)
    raise ValueError(f"label is a {type(label).__name__}; use {_LABELS_READ}")


def _positive_from_text(text: str) -> bool | None:
    if not text:
        return None
    if text.lower() in _LABELS:
        return _LABELS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"label {_shortened(text)} is not understood; use {_LABELS_READ}") from None
    return _positive_from_number(number, text)


def _positive_from_number(number: float, label: object) -> bool:
    # NaN fails this comparison too.
    if not 0 <= number <= 1:
        raise ValueError(f"label {_shortened(label)} is outside 0 to 1; use {_LABELS_READ}")
    return number >= 0.5


def _shortened(label: object) -> str:
    text = repr(label)
    return text if len(text) <= 40 else text[:40] + "…"


def _id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"id is {json_type(value)}; use a string or a number")


def _readable_id(value: object) -> str | None:
    return str(value).encode("utf-8", "replace").decode() or None if isinstance(value, str | int | float) else None


def _check_characters(values: Mapping[str, Any]) -> None:
    """Refuses undecodable bytes of a CSV file and lone surrogates of a JSON string, which UTF-8 cannot hold."""
    for name, value in values.items():
        for text in (name, value):
            if not isinstance(text, str) or text.isascii():
                continue
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ValueError(_character_fault(name, ord(text[error.start]))) from None


def _character_fault(name: str, code: int) -> str:
    shown = name.encode("ascii", "backslashreplace").decode()
    if 0xDC80 <= code <= 0xDCFF:
        return f"{shown} is not valid UTF-8 (byte 0x{code - 0xDC00:02x}); save the file as UTF-8"
    return f"{shown} holds half a character (\\u{code:04x} alone); write both halves of the surrogate pair, or drop it"
