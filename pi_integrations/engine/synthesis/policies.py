"""What an exploration mode means in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from pi_integrations.models.data import ExplorationMode

__all__ = ["POLICIES", "Policy"]

_HIGHEST = 1.43
_CREEP = 0.43
_RISE = 0.08
_FALL = 0.02


@dataclass(frozen=True, slots=True)
class Policy:
    """How far batches stray from the seeds.

    Attributes:
        temperature: Sampling temperature of the first batch.
        themed: Probability that a batch is given a theme, 0 to 1.
        anchored: Share of a batch's examples that are drawn from the seeds; the rest are kept items.
        reach: Share of the kept items that may be examples, those nearest to the seeds first.
        advice: What the model is told about how far to go.
    """

    temperature: float
    themed: float
    anchored: float
    reach: float
    advice: str

    @property
    def highest(self) -> float:
        """The temperature that collisions can raise it to: .43 above the first, and never beyond 1.43."""
        return min(self.temperature + _CREEP, _HIGHEST)

    def next_temperature(self, last: float, collided: float) -> float:
        """The temperature after a batch at `last` of which the share `collided`, 0 to 1, resembled kept items.

        It rises by at most .08 with the share that collided, and falls back by .02 with a batch that is clear.
        """
        moved = last + _RISE * collided if collided else last - _FALL
        return round(min(max(moved, self.temperature), self.highest), 4)


POLICIES = {
    ExplorationMode.CONSERVATIVE: Policy(
        temperature=0.7,
        themed=0.0,
        anchored=0.8,
        reach=0.25,
        advice="Stay close to the examples in subject, form and length.",
    ),
    ExplorationMode.BALANCED: Policy(
        temperature=1.0,
        themed=0.5,
        anchored=0.6,
        reach=0.5,
        advice="Keep the spirit of the examples and vary subject, wording and length.",
    ),
    ExplorationMode.CREATIVE: Policy(
        temperature=1.15,
        themed=0.75,
        anchored=0.4,
        reach=0.75,
        advice="Go beyond the examples: other subjects, other people asking, other difficulty.",
    ),
    ExplorationMode.ADVENTUROUS: Policy(
        temperature=1.3,
        themed=1.0,
        anchored=0.2,
        reach=1.0,
        advice="Be bold: look for unusual yet believable uses that the examples do not hint at.",
    ),
}
"""The policy of each mode."""
