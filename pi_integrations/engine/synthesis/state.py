"""The state of a generation that survives its process: counts of items and batches, and the lines that report them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pi_integrations.engine.chat_models.budget import Budget
from pi_integrations.engine.synthesis.items import GenerationRequest
from pi_integrations.models.data import GenerationFigures

__all__ = ["State", "Tally"]

_METRIC_LINES = 100
_LABELS = {
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
    "unscored": "fix the scoring spec, or use a generator that gives the verdicts it is asked for",
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
        similar: Like a seed or an accepted item.
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

    def add(self, other: Tally) -> None:
        """Adds another's counts."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    def rejected(self) -> str:
        """The rejections in words, such as "12 similar, 3 bad"; "nothing rejected" when there are none."""
        counts = [f"{getattr(self, name)} {label}" for name, label in _LABELS.items() if getattr(self, name)]
        return ", ".join(counts) or "nothing rejected"

    def remedy(self) -> str:
        """What may help against the most frequent rejection."""
        return _REMEDIES[max(_REMEDIES, key=lambda name: getattr(self, name))]

    def figures(self) -> dict[str, int]:
        """Fields of `GenerationFigures`; counts that it has no field for are added where they are not 0."""
        rare = {name: getattr(self, name) for name in ("unscored", "empty", "declined") if getattr(self, name)}
        malformed = self.malformed + self.unreadable
        return {"accepted": self.accepted, "bad": self.bad, "similar": self.similar, "malformed": malformed, **rare}


@dataclass(slots=True)
class State:
    """A generation between two batches. All but `request` is committed.

    Attributes:
        temperature: Of the next batch to be launched.
        settled: Batches settled so far, which is also the number of the next one to settle.
        last_temperature: Temperature of the last batch settled.
        tally: Of all batches settled.
        fruitless: How many batches in a row brought nothing new.
        fruitless_tally: Of those.
        reason: The last reason why an item had no verdict or was too long, or an answer was refused.
        diversity: The figures last computed.
        stopped: Why no more batches are launched, if so.
        failed: Why the job ends in an error, if so.
        closed: Whether the last line is written.
    """

    request: GenerationRequest
    temperature: float
    settled: int = 0
    last_temperature: float | None = None
    tally: Tally = field(default_factory=Tally)
    fruitless: int = 0
    fruitless_tally: Tally = field(default_factory=Tally)
    reason: str | None = None
    diversity: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    failed: str | None = None
    closed: bool = False

    @classmethod
    def of(cls, progress: Mapping[str, Any] | None, request: GenerationRequest) -> State:
        """The state at the last commit, or at the beginning of a job."""
        if progress is None:
            return cls(request, request.policy.temperature)
        saved = _fields_in(progress["state"], cls)
        tallies = {name: Tally(**_fields_in(saved[name], Tally)) for name in ("tally", "fruitless_tally")}
        return cls(request, **(saved | tallies))

    def settle(self, batch: Tally, temperature: float | None, reason: str | None) -> None:
        """Counts the next batch, written at `temperature` where that is known."""
        self.settled += 1
        self.last_temperature = self.last_temperature if temperature is None else temperature
        self.tally.add(batch)
        self.reason = reason or self.reason
        similar_share = batch.similar / (sum(asdict(batch).values()) or 1)
        self.temperature = self.request.policy.next_temperature(self.temperature, similar_share)
        if batch.accepted:
            self.fruitless, self.fruitless_tally, self.reason = 0, Tally(), None
        else:
            self.fruitless += 1
            self.fruitless_tally.add(batch)

    def progress(self, budget: Budget) -> dict[str, Any]:
        """The JSON value to commit."""
        state = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "request"}
        state |= {"tally": asdict(self.tally), "fruitless_tally": asdict(self.fruitless_tally)}
        figures = GenerationFigures(
            batches=self.settled,
            temperature=self.last_temperature,
            **self.tally.figures(),
            **self.diversity,
            **budget.figures(),
        )
        status: dict[str, Any] = {"wanted": self.request.wanted, "figures": figures.model_dump(mode="json")}
        if self.stopped:
            status["stopped"] = self.stopped
        return {"state": state, "budget": budget.kept(), "status": status}

    def metric_lines(self, batch: Tally, theme: str | None, temperature: float | None) -> list[str]:
        """A line of JSON about the batch just settled; in large jobs only every so many batches, some 100 in all."""
        every = max(1, self.request.wanted // (self.request.batch_size * _METRIC_LINES))
        if (self.settled - 1) % every:
            return []
        counts = batch.figures()
        line = {"batch": self.settled, "theme": theme, "temperature": temperature, "good": counts.pop("accepted")}
        return [json.dumps({**line, **counts, "total": self.tally.accepted}, ensure_ascii=False)]

    @property
    def made(self) -> str:
        """How many of the wanted items are made, such as "made 37 of 50 pairs"."""
        return f"made {self.tally.accepted} of {self.request.wanted} {self.request.noun}s"

    def last_line(self) -> str:
        """What was made, in a sentence."""
        counts = self.tally.figures()
        bad = counts["bad"] + counts.get("unscored", 0)
        rejected = f"{bad} bad, {counts['similar']} similar, {counts['malformed']} malformed"
        return f"{self.made.capitalize()} in {self.settled} batches: {counts['accepted']} good, {rejected}"

    def exhausted(self) -> str:
        """Why a job ends that makes nothing new any more."""
        tally = self.fruitless_tally
        explained = self.reason and (tally.unscored or tally.declined or tally.malformed)
        why = f" The last reason given: {self.reason}." if explained else ""
        return (
            f"{self.made}; the last {self.fruitless} batches brought nothing new ({tally.rejected()}).{why} To go on,"
            f" {tally.remedy()}."
        )


def _fields_in(saved: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """What was saved of `kind`'s fields: another version of the engine may have saved others too."""
    return {field.name: saved[field.name] for field in fields(kind) if field.name in saved}
