"""Good or bad: by the job's scoring spec, or by the generator's own judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pi_integrations.engine.synthesis.calls import Calls, side_by_side
from pi_integrations.engine.synthesis.items import Brief, Item
from pi_integrations.engine.synthesis.ledger import Bill
from pi_integrations.engine.synthesis.parsing import read_list
from pi_integrations.engine.synthesis.prompts import critic_prompt

__all__ = ["Verdict", "judge"]

_COLD = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an item before the critic.

    Attributes:
        good: Whether it may be kept; None when there is no verdict.
        scores: Its scores, when the job has a scoring spec.
        reason: Why there is no verdict.
    """

    good: bool | None
    scores: dict[str, Any] | None = None
    reason: str | None = None


async def judge(
    calls: Calls, bill: Bill, brief: Brief, items: Mapping[int, Item], key: str, draw: str
) -> list[Verdict]:
    """A verdict for each of the numbered items; `key` begins the keys of the calls, `draw` makes the prompt's tag."""
    if not items:
        return []
    if brief.scoring_spec is not None:
        return await side_by_side(_scored(calls, bill, brief, item, f"{key}/score-{n}") for n, item in items.items())
    answer = await calls.ask(bill, f"{key}/critic", critic_prompt(brief, items, draw), _COLD)
    said = _said(answer.text)
    missing = Verdict(None, reason=answer.declined or "the generator's own verdict on it is missing or unreadable")
    return [Verdict(said[number]) if number in said else missing for number in items]


async def _scored(calls: Calls, bill: Bill, brief: Brief, item: Item, key: str) -> Verdict:
    scores = await calls.score(bill, key, brief, item)
    if isinstance(scores, str):
        return Verdict(None, reason=scores)
    return Verdict(scores["total_score"] >= brief.min_score, scores=scores)


def _said(text: str) -> dict[int, bool]:
    """Verdicts by number; of two on the same item the worse."""
    said: dict[int, bool] = {}
    for value in read_list(text) or []:
        if not isinstance(value, dict):
            continue
        number, good = _number(value.get("item")), _good(value.get("good"))
        if number is not None and good is not None:
            said[number] = good and said.get(number, True)
    return said


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 7:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _good(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "good": True, "yes": True, "false": False, "bad": False, "no": False}.get(
        value.strip().casefold() if isinstance(value, str) else ""
    )
