"""Where a generation stands: what survives its process, and what the job's owner is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pi_integrations.engine.chat_models.budget import Budget
from pi_integrations.engine.synthesis.items import Brief
from pi_integrations.engine.synthesis.tally import Tally
from pi_integrations.models.data import GenerationFigures

__all__ = ["State"]

_METRIC_LINES = 100


@dataclass(slots=True)
class State:
    """A generation between two batches.

    Attributes:
        wanted: How many items were asked for.
        next: Number of the first batch that is not dealt with.
        temperature: Of the next batch to be launched.
        used: Temperature of the last batch dealt with.
        tally: Of all batches.
        barren: How many batches in a row brought nothing.
        drought: Their tally.
        reason: The last reason why an item had no verdict or was too long, or an answer was refused.
        diversity: The figures last computed.
        stopped: Why no more batches are launched, if so.
        failed: Why the job ends in an error, if so.
        told: Whether the last line is written.
    """

    temperature: float
    wanted: int
    next: int = 0
    used: float | None = None
    tally: Tally = field(default_factory=Tally)
    barren: int = 0
    drought: Tally = field(default_factory=Tally)
    reason: str | None = None
    diversity: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    failed: str | None = None
    told: bool = False

    @classmethod
    def of(cls, progress: Mapping[str, Any] | None, brief: Brief) -> State:
        """As the last commit left it, or as it begins."""
        if progress is None:
            return cls(brief.policy.temperature, brief.target)
        names = {field.name for field in fields(cls)}
        kept = {name: value for name, value in progress["state"].items() if name in names}
        kept["tally"], kept["drought"] = Tally.of(kept["tally"]), Tally.of(kept["drought"])
        return cls(**kept)

    def deal_with(self, batch: Tally, temperature: float | None, reason: str | None, brief: Brief) -> None:
        """Counts the next batch, written at `temperature` where that is known."""
        self.next += 1
        self.used = self.used if temperature is None else temperature
        self.tally.add(batch)
        self.reason = reason or self.reason
        seen = sum(batch.counts().values())
        collided = batch.similar / seen if seen else 0.0
        self.temperature = brief.policy.next_temperature(self.temperature, collided)
        if batch.accepted:
            self.barren, self.drought, self.reason = 0, Tally(), None
        else:
            self.barren += 1
            self.drought.add(batch)

    def progress(self, budget: Budget) -> dict[str, Any]:
        """What a commit holds."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        state |= {"tally": self.tally.counts(), "drought": self.drought.counts()}
        status: dict[str, Any] = {"wanted": self.wanted, "figures": self.figures(budget)}
        if self.stopped:
            status["stopped"] = self.stopped
        return {"state": state, "budget": budget.kept(), "status": status}

    def figures(self, budget: Budget) -> dict[str, Any]:
        """`GenerationFigures` as JSON values."""
        figures = GenerationFigures(
            batches=self.next, temperature=self.used, **self.tally.figures(), **self.diversity, **budget.figures()
        )
        return figures.model_dump(mode="json")

    def metric_line(self, batch: Tally, theme: str | None, temperature: float | None, brief: Brief) -> list[str]:
        """A line of JSON about the batch just dealt with; in large jobs every so many batches only, some 100 in all."""
        every = max(1, brief.target // (brief.batch_size * _METRIC_LINES))
        if (self.next - 1) % every:
            return []
        counts = batch.figures()
        line = {"batch": self.next, "theme": theme, "temperature": temperature, "good": counts.pop("accepted")}
        return [json.dumps({**line, **counts, "total": self.tally.accepted}, ensure_ascii=False)]

    def last_line(self, brief: Brief) -> str:
        """What was made, in a sentence."""
        tally = self.tally
        others = tally.figures()
        bad = others["bad"] + others.get("unscored", 0)
        counts = f"{tally.accepted} good, {bad} bad, {tally.similar} similar, {others['malformed']} malformed"
        return f"Made {tally.accepted} of {brief.target} {brief.noun}s in {self.next} batches: {counts}"

    def exhausted(self, brief: Brief) -> str:
        """Why a job ends that finds nothing new any more."""
        told = self.reason and (self.drought.unscored or self.drought.declined or self.drought.malformed)
        why = f" The last reason given: {self.reason}." if told else ""
        return (
            f"made {self.tally.accepted} of {brief.target} {brief.noun}s; the last {self.barren} batches brought"
            f" nothing new ({self.drought.rejected()}).{why} To go on, {self.drought.remedy()}."
        )
