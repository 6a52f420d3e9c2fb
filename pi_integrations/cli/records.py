"""Raw records of JSONL and CSV streams; a malformed record carries its error, and reading continues after it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Literal

from pi_integrations.errors import PiUsageError

__all__ = ["MAX_LINE_BYTES", "RawRecord", "RecordFormat", "csv_records", "json_type", "jsonl_records"]

RecordFormat = Literal["jsonl", "csv"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line, or a longer CSV field, is refused instead of read into memory."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_JSON_TYPES = {
    list: "an array",
    dict: "an object",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Values by column name, or the `error` that kept them from being read.

    Attributes:
        number: The line of a JSONL file, or the data row of a CSV file, from 1.
        where: The position in words, for messages: `line 7`, `row 3 (line 9)`.
        values: By column name.
        error: What is wrong with the record, where, and what to do.
    """

    number: int
    where: str
    values: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def json_type(value: object) -> str:
    """The JSON type of `value` in words."""
    return _JSON_TYPES.get(type(value), "null")


def jsonl_records(stream: IO[bytes] | IO[str]) -> Iterator[RawRecord]:
    """One record for each line of `stream` that is not blank.

    Raises:
        PiUsageError: when the file is UTF-16, or one JSON array instead of lines.
    """
    first = True
    for number, line in enumerate(_lines(stream), start=1):
        if not line.strip():
            continue
        # One clear error in place of one for every line of a pretty-printed array.
        if first and line.lstrip().startswith(b"["):
            raise PiUsageError(
                "the file is one JSON array, not JSONL; write one object on each line,"
                " for example with: jq -c '.[]' file.json > file.jsonl"
            )
        first = False
        where = f"line {number}"
        try:
            yield RawRecord(number, where, values=_json_object(line))
        except ValueError as error:
            yield RawRecord(number, where, error=f"{where}: {error}")


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
        raise ValueError(f'{json_type(value)} where an object belongs; write {{"llm_input": "…", "llm_output": "…"}}')
    return value


def _json_fault(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return "the JSON breaks off before its end; write one whole object on the line"
    return f"not valid JSON ({error.msg} at column {error.colno}); write one whole object on the line"


def csv_records(stream: IO[bytes] | IO[str], *, needed: tuple[str, ...]) -> Iterator[RawRecord]:
    """One record for each data row of `stream`, whose first row is a header with at least the columns `needed`.

    Raises:
        PiUsageError: when there is no header, when a needed column is not in it, or when the file is UTF-16.
    """
    # The csv module refuses fields over 128 KiB by default.
    csv.field_size_limit(max(MAX_LINE_BYTES, csv.field_size_limit()))
    reader = csv.reader(_text_lines(stream), strict=True)
    header = _header(reader, needed)
    number = 0
    while True:
        where = f"row {number + 1} (line {reader.line_num + 1})"
        try:
            values = next(reader, None)
        except csv.Error as error:
            problem = f"not valid CSV ({error}); close every quote, and double the quotes inside a quoted field"
            record = RawRecord(number + 1, where, error=f"{where}: {problem}")
        else:
            if values is None:
                return
            if not values:
                continue
            record = _csv_record(number + 1, where, header, values)
        number += 1
        yield record


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
                f"the CSV header has no column {name!r} (it has: {', '.join(map(repr, names[:20]))});"
                " add a header line, or name your column, for example with --column llm_output=NAME"
            )
    return names


def _csv_record(number: int, where: str, header: list[str], values: list[str]) -> RawRecord:
    if len(values) == len(header):
        return RawRecord(number, where, values=dict(zip(header, values, strict=True)))
    problem = (
        f"{where}: {len(values)} fields where the header names {len(header)};"
        " put fields that hold commas or line breaks in double quotes"
    )
    return RawRecord(number, where, error=problem)


def _text_lines(stream: IO[bytes] | IO[str]) -> Iterator[str]:
    """Lines as text; undecodable bytes become lone surrogates, so that they spoil their own row alone."""
    for line in _lines(stream):
        if len(line) > MAX_LINE_BYTES:
            raise PiUsageError(f"the CSV file has a line longer than {MAX_LINE_BYTES >> 20} MiB; shorten it")
        yield line.decode("utf-8", "surrogateescape")


def _lines(stream: IO[bytes] | IO[str]) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark; a line over the limit is cut to one byte more than it."""
    # Reading nothing gives the end of the stream, b"" or "", in its own type.
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
