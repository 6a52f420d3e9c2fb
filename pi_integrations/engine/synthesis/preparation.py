"""What a job needs before its first batch: seeds, where it was given none, and themes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.engine.synthesis.batches import read_answer
from pi_integrations.engine.synthesis.calls import Calls
from pi_integrations.engine.synthesis.embedding import Vectors
from pi_integrations.engine.synthesis.items import Brief, Item
from pi_integrations.engine.synthesis.ledger import Bill
from pi_integrations.engine.synthesis.parsing import read_list
from pi_integrations.engine.synthesis.prompts import batch_prompt, themes_prompt

__all__ = ["Grounds", "prepare"]

_THEMES = 10
_LONGEST_THEME = 200
_SHOWN_SEEDS = 20
_TRIES = 3
_NAMES = ("theme", "name", "title", "topic")
_EMBEDDED_AT_ONCE = 100


@dataclass(slots=True)
class Grounds:
    """What batches build on, and the message lines that say so."""

    seeds: list[Item]
    themes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    vectors: Vectors = field(default_factory=dict)
    """Embeddings of the seeds' inputs, where the engine has an embeddings model."""


async def prepare(brief: Brief, calls: Calls, bill: Bill, draw: str) -> Grounds:
    """Seeds and themes; every answer is on record, so each life of a job builds on the same.

    Raises:
        CeilingReached, JobStopped: as `Calls.ask` does.
    """
    grounds = Grounds(list(brief.seeds))
    if not (brief.seeds or brief.description or brief.answers):
        grounds.messages.append("No description, system prompt or seeds: making data for a general-purpose assistant")
    if not brief.seeds:
        await _invent_seeds(grounds, brief, calls, bill, draw)
    if brief.policy.themed:
        await _invent_themes(grounds, brief, calls, bill, draw)
    texts = list(dict.fromkeys(seed.llm_input for seed in grounds.seeds))
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        grounds.vectors |= await calls.embed(f"seed-vectors-{start}", texts[start : start + _EMBEDDED_AT_ONCE])
    return grounds


async def _invent_seeds(grounds: Grounds, brief: Brief, calls: Calls, bill: Bill, draw: str) -> None:
    prompt = batch_prompt(brief, [], None, brief.batch_size, f"{draw}:seeds")
    for attempt in range(_TRIES):
        answer = await calls.ask(bill, f"seeds-{attempt}", prompt, brief.policy.temperature)
        items, _ = read_answer(answer.text, brief)
        if items:
            grounds.seeds = list(items.values())
            grounds.messages.append(f"Invented {len(grounds.seeds)} seeds")
            return
    grounds.messages.append(f"Invented no seeds: {_TRIES} answers of the generator held none; going on without")


async def _invent_themes(grounds: Grounds, brief: Brief, calls: Calls, bill: Bill, draw: str) -> None:
    prompt = themes_prompt(brief, _spread(grounds.seeds), _THEMES, f"{draw}:themes")
    answer = await calls.ask(bill, "themes", prompt, brief.policy.temperature)
    texts = [
        text for value in read_list(answer.text, lambda value: bool(_named(value))) or [] for text in _named(value)
    ]
    grounds.themes = list(dict.fromkeys(texts))[: 2 * _THEMES]
    if grounds.themes:
        grounds.messages.append(f"Invented {len(grounds.themes)} themes: {'; '.join(grounds.themes)}")
    else:
        grounds.messages.append("Invented no themes: the generator's answer held none; going on without")


def _named(value: Any) -> list[str]:
    """The themes that an element names: a text, an object with one, or an object of numbered ones."""
    if isinstance(value, dict):
        named = [value[name] for name in _NAMES if name in value]
        said = named[:1] or [text for number, text in value.items() if number.isdecimal() or len(value) == 1]
    else:
        said = [value]
    texts = [" ".join(text.split())[:_LONGEST_THEME] for text in said if isinstance(text, str)]
    return [text for text in texts if text]


def _spread(seeds: Sequence[Item]) -> Sequence[Item]:
    """At most 20 of the seeds, from all of the list."""
    return seeds[:: -(-len(seeds) // _SHOWN_SEEDS)] if seeds else seeds
