"""Records of a CSV stream; a broken row is reported and the rest goes on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from pi_integrations.cli.rows.lines import MAX_LINE_BYTES, is_overlong, read_lines
from pi_integrations.cli.rows.record import Record
from pi_integrations.errors import PiUsageError

__all__ = ["csv_records"]


def csv_records(stream: IO[bytes] | IO[str], *, needed: tuple[str, ...]) -> Iterator[Record]:
    """One record for each data row of `stream`, whose first row is a header with at least the columns `needed`.

    Raises:
        PiUsageError: when there is no header, when a needed column is not in it, or when the file is UTF-16.
    """
    csv.field_size_limit(max(MAX_LINE_BYTES, csv.field_size_limit()))
    reader = csv.reader(_decoded(stream), strict=True)
    header = _header(reader, needed)
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            number += 1
            yield _unreadable(number, line, error)
            continue
        if fields is None:
            return
        if fields:
            number += 1
            yield _record(number, line, header, fields)


def _decoded(stream: IO[bytes] | IO[str]) -> Iterator[str]:
    """Lines as text; undecodable bytes travel as lone surrogates, so that they spoil their own row and no other."""
    for line in read_lines(stream):
        if is_overlong(line):
            raise PiUsageError(f"the CSV file has a line longer than {MAX_LINE_BYTES >> 20} MiB; shorten it")
        yield line.decode("utf-8", "surrogateescape")


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


def _record(number: int, line: int, header: list[str], fields: list[str]) -> Record:
    where = f"row {number} (line {line})"
    if len(fields) == len(header):
        return Record(number, where, values=dict(zip(header, fields, strict=True)))
    problem = (
        f"{where}: {len(fields)} fields where the header names {len(header)};"
        " put fields that hold commas or line breaks in double quotes"
    )
    return Record(number, where, error=problem)


def _unreadable(number: int, line: int, error: csv.Error) -> Record:
    where = f"row {number} (line {line})"
    remedy = "close every quote, and double the quotes inside a quoted field"
    return Record(number, where, error=f"{where}: not valid CSV ({error}); {remedy}")
