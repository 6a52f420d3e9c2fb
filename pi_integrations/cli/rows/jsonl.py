"""Records of a JSONL stream, one a line; a broken line is reported and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from pi_integrations.cli.rows.lines import MAX_LINE_BYTES, is_overlong, read_lines
from pi_integrations.cli.rows.record import Record
from pi_integrations.errors import PiUsageError

__all__ = ["jsonl_records"]

_TYPE_NAMES = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def jsonl_records(stream: IO[bytes] | IO[str]) -> Iterator[Record]:
    """One record for each line of `stream` that is not blank.

    Raises:
        PiUsageError: when the file is UTF-16, or one JSON array instead of lines.
    """
    first = True
    for number, line in enumerate(read_lines(stream), start=1):
        if not line.strip():
            continue
        if first and line.lstrip().startswith(b"["):
            raise PiUsageError(
                "the file is one JSON array, not JSONL; write one object on each line,"
                " for example with: jq -c '.[]' file.json > file.jsonl"
            )
        first = False
        yield _json_record(number, line)


def _json_record(number: int, line: bytes) -> Record:
    where = f"line {number}"
    try:
        return Record(number, where, values=_json_object(line))
    except ValueError as error:
        return Record(number, where, error=f"{where}: {error}")


def _json_object(line: bytes) -> dict[str, Any]:
    if is_overlong(line):
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
