"""Good or bad: by the job's scoring spec, or by the generator's own judgement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pi_integrations.engine.chat_models.budget import Spending
from pi_integrations.engine.chat_models.replies import read_list
from pi_integrations.engine.synthesis.calls import Calls, side_by_side
from pi_integrations.engine.synthesis.items import Brief, Item
from pi_integrations.engine.synthesis.prompts import critic_prompt

__all__ = ["Verdict", "judge"]

_COLD = 0.0
_NUMBER = re.compile(r"\s*(?:item)?\s*([0-9]{1,6})\s*", re.IGNORECASE)
_WORDS = {"true": True, "good": True, "yes": True, "false": False, "bad": False, "no": False}


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
    calls: Calls, bill: Spending, brief: Brief, items: Mapping[int, Item], key: str, draw: str
) -> list[Verdict]:
    """A verdict for each of the numbered items; `key` begins the keys of the calls, `draw` makes the prompt's tag."""
    if not items:
        return []
    if brief.scoring_spec is not None:
        return await side_by_side(_scored(calls, bill, brief, item, f"{key}/score-{n}") for n, item in items.items())
    # By their places, with no gaps, so that a critic that counts by itself counts the same.
    shown = dict(enumerate(items.values(), start=1))
    answer = await calls.ask(bill, f"{key}/critic", critic_prompt(brief, shown, draw), _COLD)
    said = _said(answer.text, len(shown))
    missing = Verdict(None, reason=answer.declined or "the generator's own verdict on it is missing or unreadable")
    return [Verdict(said[number]) if number in said else missing for number in shown]


async def _scored(calls: Calls, bill: Spending, brief: Brief, item: Item, key: str) -> Verdict:
    scores = await calls.score(bill, key, brief, item)
    if isinstance(scores, str):
        return Verdict(None, reason=scores)
    return Verdict(scores["total_score"] >= brief.min_score, scores=scores)


def _said(text: str, count: int) -> dict[int, bool]:
    """Verdicts by the number of their item, from 1 to `count`; of two on the same item the worse."""
    values = read_list(text, lambda value: bool(_verdicts_in(value, count)) or _good(value) is not None) or []
    if len(values) == count and all(_good(value) is not None for value in values):
        return {number: bool(_good(value)) for number, value in enumerate(values, start=1)}
    said: dict[int, bool] = {}
    for value in values:
        for number, good in _verdicts_in(value, count):
            said[number] = good and said.get(number, True)
    return _from_one(said, count)


def _from_one(said: dict[int, bool], count: int) -> dict[int, bool]:
    """`said` with items numbered from 1; nothing when some are numbered from 0 but not all can be."""
    if 0 not in said:
        return said
    return {} if max(said) >= count else {number + 1: good for number, good in said.items()}


def _verdicts_in(value: Any, count: int) -> list[tuple[int, bool]]:
    """What an element says: an item's number and its verdict, or those of all `count` as `{"1": true, "2": false}`."""
    if not isinstance(value, dict):
        return []
    told = [(value["item"], value.get("good"))] if "item" in value else list(value.items())
    read = [(_number(item), _good(good)) for item, good in told]
    found = [(number, good) for number, good in read if number is not None and good is not None]
    return found if "item" in value or len(found) == count else []


def _number(value: Any) -> int | None:
    if isinstance(value, str) and (named := _NUMBER.fullmatch(value)):
        return int(named[1])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _good(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _WORDS.get(value.strip().casefold()) if isinstance(value, str) else None
