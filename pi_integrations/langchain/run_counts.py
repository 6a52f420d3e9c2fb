"""The counts of a `PiScoreCallbackHandler`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunCounts"]


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The counts of a handler; `runs == submitted + unanswered + incomplete + errors + open`.

    Attributes:
        runs: Runs of the chosen level that began.
        submitted: Answers handed to the scorer; its own counts report their outcomes.
        unanswered: Runs that ended well and without a new answer: in a call of tools, in documents, without text,
            interrupted before there was one, or resumed after it was submitted.
        incomplete: Runs that failed, were cancelled, or whose stream was closed before its end; not scored.
        errors: Runs whose answer could not be read, or with a callback that failed; logged once per kind.
        open: Runs that have not ended.
    """

    runs: int = 0
    submitted: int = 0
    unanswered: int = 0
    incomplete: int = 0
    errors: int = 0
    open: int = 0
