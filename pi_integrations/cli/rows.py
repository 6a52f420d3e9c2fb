"""Exchanges to score, read from JSONL, CSV or standard input as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from pi_integrations.cli.labels import is_positive
from pi_integrations.cli.records import Record, csv_records, jsonl_records
from pi_integrations.errors import PiUsageError

__all__ = ["FIELDS", "Format", "Row", "parse_columns", "read_rows"]

Format = Literal["jsonl", "csv"]

FIELDS = ("id", "llm_input", "llm_output", "label")
"""What is read of a row; `--column FIELD=NAME` says which column holds it."""

_NEEDED = ("llm_input", "llm_output")
_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
_TYPE_NAMES = {list: "an array", dict: "an object", bool: "a boolean", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange of a file, or the `error` that keeps it from being scored.

    Attributes:
        number: 1-based: the line of a JSONL file, the data row of a CSV file.
        id: The row's own name, if it has one.
        llm_input: What the application was asked; may be empty.
        llm_output: What it answered.
        label: As it stands in the file; None without one.
        positive: What the label says: True for a good answer, False for a bad one, None without a label.
        extra: The other columns, to be carried through.
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
    source: Path | IO[str] | IO[bytes], *, format: Format | None = None, columns: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """The rows of `source` in order, as they are read; a malformed one comes with its `error` and the rest goes on.

    The format is `format`, else what the name of the file says, else JSONL. Text is UTF-8, with or without a byte order
    mark; blank lines are skipped. `columns` says which column holds a field: `{"llm_output": "answer"}`. Memory holds
    one row at a time, and a row has at most 64 MiB.

    Raises:
        PiUsageError: for an unknown field in `columns`, a file that cannot be opened, or a CSV file without the columns
            needed.
    """
    named = {name: name for name in FIELDS} | _checked(columns or {})
    if isinstance(source, Path):
        return _from_path(source, format or _SUFFIXES.get(source.suffix.lower(), "jsonl"), named, columns or {})
    return _from_stream(source, format or "jsonl", named, columns or {})


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    for name in columns:
        if name not in FIELDS:
            raise PiUsageError(f"--column {name}=…: there is no field {name!r}; the fields are {', '.join(FIELDS)}")
    return dict(columns)


def _from_path(path: Path, format: Format, named: Mapping[str, str], mapped: Mapping[str, str]) -> Iterator[Row]:
    try:
        with path.open("rb") as stream:
            yield from _from_stream(stream, format, named, mapped)
    except OSError as error:
        raise PiUsageError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from None
    except PiUsageError as error:
        raise PiUsageError(f"{path}: {error}") from None


def _from_stream(
    stream: IO[str] | IO[bytes], format: Format, named: Mapping[str, str], mapped: Mapping[str, str]
) -> Iterator[Row]:
    needed = tuple(named[name] for name in FIELDS if name in _NEEDED or name in mapped)
    records = csv_records(stream, needed=needed) if format == "csv" else jsonl_records(stream)
    for record in records:
        yield _row(record, named)


def _row(record: Record, named: Mapping[str, str]) -> Row:
    if record.error:
        return Row(record.number, error=record.error)
    values = record.values
    try:
        _check_characters(values)
        return Row(
            number=record.number,
            id=_id(values.get(named["id"])),
            llm_input=_text(values, "llm_input", named),
            llm_output=_text(values, "llm_output", named),
            label=values.get(named["label"]),
            positive=is_positive(values.get(named["label"])),
            extra={name: value for name, value in values.items() if name not in named.values()},
        )
    except ValueError as error:
        return Row(record.number, id=_readable_id(values, named), error=f"{record.where}: {error}")


def _text(values: Mapping[str, Any], name: str, named: Mapping[str, str]) -> str:
    column = named[name]
    if column not in values:
        found = ", ".join(map(repr, list(values)[:20])) or "nothing"
        raise ValueError(f"{column} is missing (found: {found}); add it, or name your column with --column {name}=NAME")
    value = values[column]
    if not isinstance(value, str):
        raise ValueError(f"{column} is {_TYPE_NAMES.get(type(value), 'null')}, not a string; put the text in quotes")
    return value


def _id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"id is {_TYPE_NAMES.get(type(value), 'of another type')}; use a string or a number")


def _readable_id(values: Mapping[str, Any], named: Mapping[str, str]) -> str | None:
    try:
        value = values.get(named["id"])
        return None if value is None else _id(value if not isinstance(value, str) else value.encode().decode())
    except ValueError:
        return None


def _check_characters(values: Mapping[str, Any]) -> None:
    """Refuses what no UTF-8 file can hold: undecodable bytes of a CSV file, lone surrogates of a JSON string."""
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
