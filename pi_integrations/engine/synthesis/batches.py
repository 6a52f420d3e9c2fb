"""One batch on its way: written, answered where there is a system prompt, judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pi_integrations.engine.synthesis.accepted_items import Kept
from pi_integrations.engine.synthesis.calls import Answer, Calls, TooLong, side_by_side
from pi_integrations.engine.synthesis.critic import Verdict, judge
from pi_integrations.engine.synthesis.embedding import Vectors
from pi_integrations.engine.synthesis.items import Brief, Item
from pi_integrations.engine.synthesis.ledger import Bill, CeilingReached
from pi_integrations.engine.synthesis.parsing import read_item, read_list
from pi_integrations.engine.synthesis.prompts import answer_prompt, batch_prompt
from pi_integrations.engine.synthesis.tally import Tally

__all__ = ["Batch", "Made", "make", "read_answer"]


_LONGEST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked for in one batch; `number` counts from 0."""

    number: int
    count: int
    shots: Sequence[Item]
    theme: str | None
    temperature: float
    draw: str
    """Makes the tags of its prompts: the same in every life of the job."""


@dataclass(slots=True)
class Made:
    """What came of a batch before it is compared with what was kept.

    Attributes:
        good: Items that the critic let pass, with their scores.
        tally: Those that fell by the wayside.
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


async def make(batch: Batch, brief: Brief, calls: Calls, kept: Kept, bill: Bill) -> Made:
    """Makes a batch. Which answers it asks for follows from the answers before, so that each is found on record."""
    try:
        return await _made(batch, brief, calls, kept, bill)
    except CeilingReached:
        return Made(halted=True)


async def _made(batch: Batch, brief: Brief, calls: Calls, kept: Kept, bill: Bill) -> Made:
    key = f"batch-{batch.number}"
    answer = await _written(batch, brief, calls, bill, key)
    if answer.declined:
        return Made(tally=Tally(declined=1), reason=answer.declined, temperature=answer.temperature)
    items, tally = read_answer(answer.text, brief)
    made = Made(tally=tally, temperature=answer.temperature)
    # What is like something kept will not be kept: no need to pay for its answer and its verdict.
    repeated = await kept.repeated(list(items.values()))
    tally.similar += sum(repeated)
    fresh = {number: item for (number, item), known in zip(items.items(), repeated, strict=True) if not known}
    if brief.answers:
        fresh = await _answered(fresh, brief.answers, calls, bill, key, made)
    await _judge(fresh, brief, calls, bill, key, batch.draw, made)
    made.vectors = await calls.embed(f"{key}/vectors", [item.llm_input for item, _ in made.good])
    return made


async def _written(batch: Batch, brief: Brief, calls: Calls, bill: Bill, key: str) -> Answer:
    """The answer that holds the items; half as many examples are shown when the prompt is too long, down to none."""
    shots, name = batch.shots, f"{key}/items"
    while True:
        prompt = batch_prompt(brief, shots, batch.theme, batch.count, batch.draw)
        try:
            return await calls.ask(bill, name, prompt, batch.temperature)
        except TooLong:
            if not shots:
                raise
            shots = shots[: len(shots) // 2]
            name = f"{key}/items-{len(shots)}"


async def _judge(
    items: dict[int, Item], brief: Brief, calls: Calls, bill: Bill, key: str, draw: str, made: Made
) -> None:
    """Files the items by their verdicts; when they are too long to be judged together, in two halves."""
    try:
        verdicts = await judge(calls, bill, brief, items, key, draw)
    except TooLong as failure:
        if len(items) == 1:
            made.tally.malformed += 1
            made.reason = str(failure).rstrip(".")
            return
        numbers = list(items)
        for part, half in enumerate((numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]), start=1):
            halved = {number: items[number] for number in half}
            await _judge(halved, brief, calls, bill, f"{key}/part-{part}", draw, made)
        return
    for item, verdict in zip(items.values(), verdicts, strict=True):
        _file(item, verdict, made)


def read_answer(text: str, brief: Brief) -> tuple[dict[int, Item], Tally]:
    """The items of an answer by their place in it, from 1 and at most `batch_size`, and what else there was.

    Items with a text of more than 20,000 characters count as malformed.
    """
    values = read_list(text)
    if not values:
        return {}, Tally(unreadable=1) if values is None else Tally(empty=1)
    items = {number: read_item(value, brief.form) for number, value in enumerate(values[: brief.batch_size], start=1)}
    whole = {number: item for number, item in items.items() if item is not None and _is_short(item)}
    return whole, Tally(malformed=len(items) - len(whole))


def _is_short(item: Item) -> bool:
    return max(len(item.llm_input), len(item.llm_output or "")) <= _LONGEST_TEXT


async def _answered(
    items: dict[int, Item], system_prompt: str, calls: Calls, bill: Bill, key: str, made: Made
) -> dict[int, Item]:
    """The items with the responses of the application's system prompt, at the model's own temperature."""
    answers = await side_by_side(
        _response(calls, bill, f"{key}/answer-{number}", system_prompt, item) for number, item in items.items()
    )
    found: dict[int, Item] = {}
    for (number, item), answer in zip(items.items(), answers, strict=True):
        if isinstance(answer, TooLong):
            made.tally.malformed += 1
            made.reason = str(answer).rstrip(".")
        elif answer.declined:
            made.tally.declined += 1
            made.reason = answer.declined
        elif answer.cut or not 0 < len(answer.text.strip()) <= _LONGEST_TEXT:
            made.tally.malformed += 1
        else:
            found[number] = replace(item, llm_output=answer.text.strip())
    return found


async def _response(calls: Calls, bill: Bill, key: str, system_prompt: str, item: Item) -> Answer | TooLong:
    try:
        return await calls.ask(bill, key, answer_prompt(system_prompt, item.llm_input))
    except TooLong as failure:
        return failure


def _file(item: Item, verdict: Verdict, made: Made) -> None:
    if verdict.good:
        made.good.append((item, verdict.scores))
    elif verdict.good is None:
        made.tally.unscored += 1
        made.reason = verdict.reason
    else:
        made.tally.bad += 1
