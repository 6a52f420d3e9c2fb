"""Raw records of a JSONL or CSV stream, one at a time; a broken one is reported and the rest goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from pi_integrations.errors import PiUsageError

__all__ = ["MAX_LINE_BYTES", "Record", "csv_records", "jsonl_records"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line, or a longer CSV field, is refused instead of read into memory."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_TYPE_NAMES = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Record:
    """Values by column name, or the `error` that kept them from being read.

    Attributes:
        number: 1-based: the line of a JSONL file, the data row of a CSV file.
        where: The same in words, for messages: `line 7`, `row 3 (line 9)`.
    """

    number: int
    where: str
    values: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def jsonl_records(stream: IO[bytes] | IO[str]) -> Iterator[Record]:
    """One record for each line of `stream` that is not blank.

    Raises:
        PiUsageError: when the file is UTF-16, or one JSON array instead of lines.
    """
    first = True
    for number, line in enumerate(_lines(stream), start=1):
        if not line.strip():
            continue
        if first and line.lstrip().startswith(b"["):
            raise PiUsageError(
                "the file is one JSON array, not JSONL; write one object on each line,"
                " for example with: jq -c '.[]' file.json > file.jsonl"
            )
        first = False
        yield _json_record(number, line)


def csv_records(stream: IO[bytes] | IO[str], *, needed: tuple[str, ...]) -> Iterator[Record]:
    """One record for each data row of `stream`, whose first row is a header with at least the columns `needed`.

    Raises:
        PiUsageError: when there is no header, when a needed column is not in it, or when the file is UTF-16.
    """
    csv.field_size_limit(max(MAX_LINE_BYTES, csv.field_size_limit()))
    # Undecodable bytes travel as lone surrogates, so that they spoil their own row and no other.
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in _csv_lines(stream)), strict=True)
    header = _header(reader, needed)
    number = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            where = f"row {number} (line {reader.line_num})"
            problem = f"{where}: not valid CSV ({error}); close every quote and double the quotes inside a field"
            yield Record(number, where, error=problem)
            continue
        if fields:
            number += 1
            yield _csv_record(number, reader.line_num, header, fields)


def _lines(stream: IO[bytes] | IO[str]) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark; an overlong line comes cut and one byte over the limit."""
    binary: Any = getattr(stream, "buffer", stream)
    first = True
    for line in iter(partial(binary.readline, MAX_LINE_BYTES + 1), binary.read(0)):
        data: bytes = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
        if first and data.startswith(_UTF16_BOMS):
            raise PiUsageError("the file is UTF-16; save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8")
        if len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            _skip_line(binary)
        yield data.removeprefix(_BOM) if first else data
        first = False


def _skip_line(binary: Any) -> None:
    for rest in iter(partial(binary.readline, MAX_LINE_BYTES), binary.read(0)):
        if rest[-1:] in (b"\n", "\n"):
            return


def _json_record(number: int, line: bytes) -> Record:
    where = f"line {number}"
    try:
        return Record(number, where, values=_json_object(line))
    except ValueError as error:
        return Record(number, where, error=f"{where}: {error}")


def _json_object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES >> 20} MiB; split or shorten it")
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=lambda name: None)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not valid UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1}); save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(_json_fault(error)) from None
    except (RecursionError, ValueError) as error:
        raise ValueError(f"JSON that cannot be read ({error}); simplify the line") from None
    if not isinstance(value, dict):
        kind = _TYPE_NAMES.get(type(value), "null")
        raise ValueError(f'{kind} where an object belongs; write {{"llm_input": "…", "llm_output": "…"}}')
    return value


def _json_fault(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return "the JSON breaks off before its end; write one whole object on the line"
    return f"not valid JSON ({error.msg} at column {error.colno}); write one whole object on the line"


def _csv_lines(stream: IO[bytes] | IO[str]) -> Iterator[bytes]:
    for line in _lines(stream):
        if len(line) > MAX_LINE_BYTES:
            raise PiUsageError(f"the CSV file has a line longer than {MAX_LINE_BYTES >> 20} MiB; shorten it")
        yield line


def _header(reader: Iterator[list[str]], needed: tuple[str, ...]) -> list[str]:
    try:
        header = next((row for row in reader if row), None)
    except csv.Error as error:
        raise PiUsageError(f"the CSV header cannot be read ({error}); its first line names the columns") from None
    if header is None:
        raise PiUsageError("the CSV file is empty; its first line names the columns: llm_input,llm_output")
    names = [name.strip() for name in header]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise PiUsageError(f"the CSV header names column {repeated!r} twice; give each column its own name")
    for name in needed:
        if name not in names:
            raise PiUsageError(
                f"the CSV header has no column {name!r} (it has: {', '.join(map(repr, names[:20]))}); add a header line,"
                f" or name your column, for example with --column llm_output=NAME"
            )
    return names


def _csv_record(number: int, line: int, header: list[str], fields: list[str]) -> Record:
    where = f"row {number} (line {line})"
    if len(fields) != len(header):
        return Record(
            number,
            where,
            error=f"{where}: {len(fields)} fields where the header names {len(header)};"
            " put fields that hold commas or line breaks in double quotes",
        )
    return Record(number, where, values=dict(zip(header, fields, strict=True)))
