"""Rows that got no score, grouped by what went wrong, with the first few of each group."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Failure", "FailureGroup", "FailureLog"]

_EXAMPLES = 5
_GROUPS = 50
_MESSAGE_CHARACTERS = 2_000
# What differs between two reports of the same trouble: numbers, and whatever is quoted.
_VARIABLE = re.compile(r"\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"|`[^`]*`")
_OTHERS = "(other reasons)"


@dataclass(frozen=True, slots=True)
class Failure:
    """One row without a score."""

    number: int
    """Of the row in its file."""
    id: str | None
    message: str


@dataclass(slots=True)
class FailureGroup:
    """Rows that failed alike: messages that differ only in numbers and quoted text."""

    count: int = 0
    examples: list[Failure] = field(default_factory=list)


class FailureLog:
    """Failures counted by kind; keeps the first 5 of each of the first 50 kinds, whatever the number added."""

    def __init__(self) -> None:
        self._groups: dict[str, FailureGroup] = {}
        self.count = 0

    def add(self, number: int, id: str | None, message: str) -> None:
        """Counts one failed row."""
        self.count += 1
        kind = _VARIABLE.sub("…", message[:_MESSAGE_CHARACTERS])
        if kind not in self._groups and len(self._groups) >= _GROUPS:
            kind = _OTHERS
        group = self._groups.setdefault(kind, FailureGroup())
        group.count += 1
        if len(group.examples) < _EXAMPLES:
            group.examples.append(Failure(number, id, _shortened(message)))

    @property
    def groups(self) -> list[FailureGroup]:
        """The kinds, most frequent first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


def _shortened(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARACTERS else message[: _MESSAGE_CHARACTERS - 1] + "…"
