"""One batch: its items are written, answered where there is a system prompt, and judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pi_integrations.engine.chat_models.asking import Reply, Vectors
from pi_integrations.engine.chat_models.budget import CeilingReached, Spending
from pi_integrations.engine.chat_models.failures import side_by_side
from pi_integrations.engine.chat_models.replies import read_list
from pi_integrations.engine.synthesis.accepted_items import AcceptedItems
from pi_integrations.engine.synthesis.calls import Calls, TooLong
from pi_integrations.engine.synthesis.items import GenerationRequest, Item, may_be_item, read_item
from pi_integrations.engine.synthesis.prompts import answer_prompt, batch_prompt, critic_prompt
from pi_integrations.engine.synthesis.state import Tally

__all__ = ["Batch", "BatchResult", "make_batch", "read_answer"]

_LONGEST_TEXT = 20_000
_CRITIC_TEMPERATURE = 0.0
_NUMBER = re.compile(r"\s*(?:item)?\s*([0-9]{1,6})\s*", re.IGNORECASE)
_VERDICTS = {"true": True, "good": True, "yes": True, "false": False, "bad": False, "no": False}

# The items of an answer by their place in it, from 1.
_Numbered = dict[int, Item]


@dataclass(frozen=True, slots=True)
class Batch:
    """What to request of the generator in one batch; `number` counts from 0."""

    number: int
    count: int
    shots: Sequence[Item]
    theme: str | None
    temperature: float
    tag_source: str
    """Decides the tags of its prompts: the same in every attempt at the job."""


@dataclass(slots=True)
class BatchResult:
    """What a batch made, before it is compared with the items accepted meanwhile.

    Attributes:
        good: Items that the critic let pass, with their scores.
        tally: Counts of the others.
        halted: Whether the job may not pay for the rest of the batch, which is then given up.
        reason: Why an item has no verdict or was too long, or why the model declined, if there is such a case.
        temperature: At which its items were written, where known.
        vectors: Embeddings of the good inputs, where the engine has an embeddings model.
    """

    good: list[tuple[Item, dict[str, Any] | None]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    halted: bool = False
    reason: str | None = None
    temperature: float | None = None
    vectors: Vectors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemVerdict:
    """The critic's verdict on an item.

    Attributes:
        good: Whether it may be accepted; None when there is no verdict.
        scores: Its scores, when the job has a scoring spec.
        reason: Why there is no verdict.
    """

    good: bool | None
    scores: dict[str, Any] | None = None
    reason: str | None = None


async def make_batch(
    batch: Batch, request: GenerationRequest, calls: Calls, accepted: AcceptedItems, spending: Spending
) -> BatchResult:
    """Makes a batch. Its calls follow from the answers before them, so that each answer is found on record."""
    try:
        return await _Maker(batch, request, calls, spending).make(accepted)
    except CeilingReached:
        return BatchResult(halted=True)


def read_answer(text: str, request: GenerationRequest) -> tuple[_Numbered, Tally]:
    """The items of an answer by their place in it, from 1 and at most `batch_size`, and counts of the rest.

    Items with a text of more than 20,000 characters count as malformed.
    """
    values = read_list(text, may_be_item)
    if not values:
        return {}, Tally(unreadable=1) if values is None else Tally(empty=1)
    items = {n: read_item(value, request.form) for n, value in enumerate(values[: request.batch_size], start=1)}
    whole = {n: item for n, item in items.items() if item is not None and _is_short(item)}
    return whole, Tally(malformed=len(items) - len(whole))


def _is_short(item: Item) -> bool:
    return max(len(item.llm_input), len(item.llm_output or "")) <= _LONGEST_TEXT


class _Maker:
    """Makes one batch; the answers of its calls are recorded under keys that begin with the batch's number."""

    def __init__(self, batch: Batch, request: GenerationRequest, calls: Calls, spending: Spending) -> None:
        self._batch = batch
        self._request = request
        self._calls = calls
        self._spending = spending
        self._key = f"batch-{batch.number}"
        self._result = BatchResult()

    async def make(self, accepted: AcceptedItems) -> BatchResult:
        result = self._result
        answer = await self._written()
        result.temperature = answer.temperature
        if answer.declined:
            self._decline(answer.declined)
            return result
        items, result.tally = read_answer(answer.text, self._request)
        # A repetition would not be accepted, so its answer and its verdict are not paid for.
        repeated = await accepted.repeated(list(items.values()))
        result.tally.similar += sum(repeated)
        items = {number: item for (number, item), known in zip(items.items(), repeated, strict=True) if not known}
        if self._request.system_prompt:
            items = await self._answered(items, self._request.system_prompt)
        await self._judge(items, self._key)
        result.vectors = await self._calls.embed(f"{self._key}/vectors", [item.llm_input for item, _ in result.good])
        return result

    def _decline(self, reason: str) -> None:
        self._result.tally.declined += 1
        self._result.reason = reason

    def _reject_too_long(self, failure: TooLong) -> None:
        self._result.tally.malformed += 1
        self._result.reason = str(failure).rstrip(".")

    async def _written(self) -> Reply:
        """The answer that holds the items; half as many examples are shown when the prompt is too long, down to 0."""
        batch, shots, key = self._batch, self._batch.shots, f"{self._key}/items"
        while True:
            prompt = batch_prompt(self._request, shots, batch.theme, batch.count, batch.tag_source)
            try:
                return await self._calls.ask(self._spending, key, prompt, batch.temperature)
            except TooLong:
                if not shots:
                    raise
                shots = shots[: len(shots) // 2]
                # Under the old key it is on record that the prompt was too long.
                key = f"{self._key}/items-{len(shots)}"

    async def _answered(self, items: _Numbered, system_prompt: str) -> _Numbered:
        """The items with the responses of the application's system prompt, at the model's own temperature."""
        answers = await side_by_side(self._response(system_prompt, number, item) for number, item in items.items())
        found: _Numbered = {}
        for (number, item), answer in zip(items.items(), answers, strict=True):
            if isinstance(answer, TooLong):
                self._reject_too_long(answer)
            elif answer.declined:
                self._decline(answer.declined)
            elif answer.cut or not 0 < len(answer.text.strip()) <= _LONGEST_TEXT:
                self._result.tally.malformed += 1
            else:
                found[number] = replace(item, llm_output=answer.text.strip())
        return found

    async def _response(self, system_prompt: str, number: int, item: Item) -> Reply | TooLong:
        try:
            prompt = answer_prompt(system_prompt, item.llm_input)
            return await self._calls.ask(self._spending, f"{self._key}/answer-{number}", prompt)
        except TooLong as failure:
            return failure

    async def _judge(self, items: _Numbered, key: str) -> None:
        """Sorts the items by their verdicts; items too long to be judged together are judged in two halves."""
        try:
            verdicts = await self._verdicts(items, key)
        except TooLong as failure:
            if len(items) == 1:
                self._reject_too_long(failure)
                return
            numbered, half = list(items.items()), len(items) // 2
            await self._judge(dict(numbered[:half]), f"{key}/part-1")
            await self._judge(dict(numbered[half:]), f"{key}/part-2")
            return
        for item, verdict in zip(items.values(), verdicts, strict=True):
            if verdict.good:
                self._result.good.append((item, verdict.scores))
            elif verdict.good is None:
                self._result.tally.unscored += 1
                self._result.reason = verdict.reason
            else:
                self._result.tally.bad += 1

    async def _verdicts(self, items: _Numbered, key: str) -> list[ItemVerdict]:
        """A verdict for each item, by the job's scoring spec or by the generator's own judgement."""
        if not items:
            return []
        if self._request.scoring_spec is not None:
            return await side_by_side(self._scored(item, f"{key}/score-{number}") for number, item in items.items())
        # By their places, with no gaps, so that a critic that counts by itself counts the same.
        shown = dict(enumerate(items.values(), start=1))
        prompt = critic_prompt(self._request, shown, self._batch.tag_source)
        answer = await self._calls.ask(self._spending, f"{key}/critic", prompt, _CRITIC_TEMPERATURE)
        verdicts = _read_verdicts(answer.text, len(shown))
        reason = answer.declined or "the generator's own verdict on it is missing or unreadable"
        missing = ItemVerdict(None, reason=reason)
        return [ItemVerdict(verdicts[number]) if number in verdicts else missing for number in shown]

    async def _scored(self, item: Item, key: str) -> ItemVerdict:
        scores = await self._calls.score(self._spending, key, self._request, item)
        if isinstance(scores, str):
            return ItemVerdict(None, reason=scores)
        return ItemVerdict(scores["total_score"] >= self._request.min_score, scores=scores)


def _read_verdicts(text: str, count: int) -> dict[int, bool]:
    """Verdicts by the number of their item, from 1 to `count`; of two on the same item the worse."""
    values = read_list(text, lambda value: bool(_verdicts_in(value, count)) or _verdict(value) is not None) or []
    plain = [verdict for value in values if (verdict := _verdict(value)) is not None]
    # Verdicts without numbers are in the order of the items only if there is one for each.
    if len(plain) == len(values) == count:
        return dict(enumerate(plain, start=1))
    verdicts: dict[int, bool] = {}
    for number, good in (found for value in values for found in _verdicts_in(value, count)):
        verdicts[number] = good and verdicts.get(number, True)
    if 0 not in verdicts:
        return verdicts
    # Numbered from 0, unless a number is too high for that: then which item is meant cannot be known.
    return {} if max(verdicts) >= count else {number + 1: good for number, good in verdicts.items()}


def _verdicts_in(value: Any, count: int) -> list[tuple[int, bool]]:
    """The verdicts in an element: of the item it names, or of all `count` items as `{"1": true, "2": false}`."""
    if not isinstance(value, dict):
        return []
    pairs = [(value["item"], value.get("good"))] if "item" in value else list(value.items())
    read = [(_number(item), _verdict(good)) for item, good in pairs]
    found = [(number, good) for number, good in read if number is not None and good is not None]
    return found if "item" in value or len(found) == count else []


def _number(value: Any) -> int | None:
    if isinstance(value, str) and (named := _NUMBER.fullmatch(value)):
        return int(named[1])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _verdict(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _VERDICTS.get(value.strip().casefold()) if isinstance(value, str) else None
