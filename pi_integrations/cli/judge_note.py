"""What a reader must know of the judge behind the numbers."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["judge_names", "judge_note"]

_BASELINE = (
    "The baseline is not a judge. It looks at surface features such as length and shared words, needs no model, and is"
    " there as a reference point that a real judge has to beat. For a judge that reads the answers, add for example"
    " --judge chat:openai:gpt-4.1-mini"
)
_SCRIPTED = "These scores come from a script made for tests, not from a judge that reads the answers."
_UNNAMED = "The service does not say which judge made these scores."
_SEVERAL = "More than one judge made these scores; scores of different judges cannot be compared."


def judge_names(fingerprints: Iterable[str | None]) -> str:
    """The fingerprints, for a heading; `not named` where a service does not say."""
    return ", ".join(sorted({fingerprint or "not named" for fingerprint in fingerprints})) or "none"


def judge_note(fingerprints: Iterable[str | None]) -> str | None:
    """The caution that belongs beside scores of these judges; None when there is nothing to add."""
    judges = set(fingerprints)
    if len(judges) > 1:
        return _SEVERAL
    judge = next(iter(judges), "")
    if judge is None:
        return _UNNAMED
    if judge.startswith("baseline"):
        return _BASELINE
    return _SCRIPTED if judge.startswith("scripted") else None
