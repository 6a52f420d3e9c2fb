"""Exchanges to score, read from JSONL, CSV or standard input as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pi_integrations.cli.records import csv_records
from pi_integrations.cli.rows.jsonl import jsonl_records
from pi_integrations.cli.rows.row import FIELDS, Row, row_of
from pi_integrations.errors import PiUsageError

__all__ = ["Format", "parse_columns", "read_rows"]

Format = Literal["jsonl", "csv"]

_NEEDED = ("llm_input", "llm_output")
_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}


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
    format: Format | None = None,
    columns: Mapping[str, str] | None = None,
    needed: Sequence[str] = _NEEDED,
) -> Iterator[Row]:
    """The rows of `source` in order, as they are read; a malformed one comes with its `error` and the rest goes on.

    The format is `format`, else what the name of the file says, else JSONL. Text is UTF-8, with or without a byte order
    mark; blank lines are skipped. `columns` says which column holds a field: `{"llm_output": "answer"}`. Texts that are
    not `needed` are empty where they are missing. Memory holds one row at a time, and a row has at most 64 MiB.

    Raises:
        PiUsageError: for an unknown field in `columns`, a file that cannot be opened, or a CSV file without the columns
            needed.
    """
    named = {name: name for name in FIELDS} | _checked(columns or {})
    asked = _Asked(named, columns or {}, needed)
    if isinstance(source, Path):
        return _from_path(source, format or _SUFFIXES.get(source.suffix.lower(), "jsonl"), asked)
    return _from_stream(source, format or "jsonl", asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which column holds each field, which of them the caller said so of, and which fields there must be."""

    named: Mapping[str, str]
    mapped: Mapping[str, str]
    needed: Sequence[str]


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    for name in columns:
        if name not in FIELDS:
            raise PiUsageError(f"--column {name}=…: there is no field {name!r}; the fields are {', '.join(FIELDS)}")
    return dict(columns)


def _from_path(path: Path, format: Format, asked: _Asked) -> Iterator[Row]:
    try:
        with path.open("rb") as stream:
            yield from _from_stream(stream, format, asked)
    except OSError as error:
        raise PiUsageError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from None
    except PiUsageError as error:
        raise PiUsageError(f"{path}: {error}") from None


def _from_stream(stream: IO[str] | IO[bytes], format: Format, asked: _Asked) -> Iterator[Row]:
    needed = tuple(asked.named[name] for name in FIELDS if name in asked.needed or name in asked.mapped)
    records = csv_records(stream, needed=needed) if format == "csv" else jsonl_records(stream)
    for record in records:
        yield row_of(record, asked.named, labelled="label" in asked.mapped, needed=asked.needed)
