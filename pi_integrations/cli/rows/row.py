"""One exchange of a file, and how it is made from a raw record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.cli.rows.labels import is_positive
from pi_integrations.cli.rows.record import Record

__all__ = ["FIELDS", "Row", "row_of"]

FIELDS = ("id", "llm_input", "llm_output", "label")
"""What is read of a row; `--column FIELD=NAME` says which column holds it."""

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


def row_of(
    record: Record,
    named: Mapping[str, str],
    *,
    labelled: bool,
    needed: Sequence[str] = ("llm_input", "llm_output"),
) -> Row:
    """The row in `record`; `named` gives the column of each of `FIELDS`. What cannot be read becomes its `error`.

    A column that merely happens to be called `label` may hold anything; with `labelled` it must hold labels. A text
    that is not `needed` is empty where it is missing.
    """
    if record.error:
        return Row(record.number, error=record.error)
    values = record.values
    try:
        _check_characters(values)
        return Row(
            number=record.number,
            id=_id(values.get(named["id"])),
            llm_input=_text(values, "llm_input", named, needed),
            llm_output=_text(values, "llm_output", named, needed),
            label=values.get(named["label"]),
            positive=_positive(values.get(named["label"]), labelled=labelled),
            extra={name: value for name, value in values.items() if name not in named.values()},
        )
    except ValueError as error:
        return Row(record.number, id=_readable_id(values, named), error=f"{record.where}: {error}")


def _positive(label: object, *, labelled: bool) -> bool | None:
    try:
        return is_positive(label)
    except ValueError:
        if labelled:
            raise
        return None


def _text(values: Mapping[str, Any], name: str, named: Mapping[str, str], needed: Sequence[str]) -> str:
    column = named[name]
    if name not in needed and values.get(column) is None:
        return ""
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
    value = values.get(named["id"])
    return str(value).encode("utf-8", "replace").decode() or None if isinstance(value, str | int | float) else None


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
