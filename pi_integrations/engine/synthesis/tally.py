"""What became of the items that were written, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Tally"]

_TOLD = {
    "similar": "similar",
    "bad": "bad",
    "unscored": "without a verdict",
    "malformed": "malformed",
    "unreadable": "unreadable answers",
    "empty": "empty answers",
    "declined": "refusals",
}
_REMEDIES = {
    "similar": "add seeds, widen application_description, or choose a bolder exploration_mode",
    "bad": "make application_description clearer, or lower min_score if there is a scoring_spec",
    "unscored": "mend the scoring spec, or use a generator that gives the verdicts it is asked for",
    "malformed": "use a generator that writes the JSON it is asked for, or a smaller batch_size",
    "unreadable": (
        "use a generator that writes the JSON it is asked for, or a smaller batch_size; if it refuses in plain words,"
        " make application_description clearer"
    ),
    "empty": "make application_description clearer, or use another generator",
    "declined": "make application_description clearer, or use a generator that takes such requests",
}


@dataclass(slots=True)
class Tally:
    """Counts of items, and of whole answers that held none.

    Attributes:
        accepted: Kept.
        similar: Like a seed or a kept item.
        bad: Turned down by the critic or the scoring spec.
        unscored: Without a verdict.
        malformed: In no readable form.
        unreadable: Answers with no list in them.
        empty: Answers with an empty list.
        declined: Answers, or responses to an input, that the model or its provider refused.
    """

    accepted: int = 0
    similar: int = 0
    bad: int = 0
    unscored: int = 0
    malformed: int = 0
    unreadable: int = 0
    empty: int = 0
    declined: int = 0

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> Tally:
        """The counts that a commit held."""
        return cls(**{name: count for name, count in (kept or {}).items() if name in cls().counts()})

    def add(self, other: Tally) -> None:
        """Adds another's counts."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return asdict(self)

    def rejected(self) -> str:
        """What was not kept, such as "12 similar, 3 bad"; "nothing rejected" when all was."""
        told = [f"{count} {_TOLD[name]}" for name, count in self.counts().items() if name in _TOLD and count]
        return ", ".join(told) or "nothing rejected"

    def remedy(self) -> str:
        """What may help against the most frequent of these."""
        counts = self.counts()
        return _REMEDIES[max(_REMEDIES, key=lambda name: counts[name])]

    def figures(self) -> dict[str, int]:
        """As the status tells it; what has no field there is told only when there is any."""
        seldom = {name: getattr(self, name) for name in ("unscored", "empty", "declined") if getattr(self, name)}
        malformed = self.malformed + self.unreadable
        return {"accepted": self.accepted, "bad": self.bad, "similar": self.similar, "malformed": malformed, **seldom}
