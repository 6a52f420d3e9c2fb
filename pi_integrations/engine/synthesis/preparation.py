"""What a job needs before its first batch: themes, and seeds where the request has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.engine.chat_models.asking import Vectors
from pi_integrations.engine.chat_models.budget import Spending
from pi_integrations.engine.chat_models.replies import read_list
from pi_integrations.engine.synthesis.batches import read_answer
from pi_integrations.engine.synthesis.calls import Calls
from pi_integrations.engine.synthesis.items import GenerationRequest, Item
from pi_integrations.engine.synthesis.prompts import batch_prompt, themes_prompt

__all__ = ["Preparation", "prepare"]

_THEMES = 10
_LONGEST_THEME = 200
_SHOWN_SEEDS = 20
_TRIES = 3
_NAMES = ("theme", "name", "title", "topic")
_EMBEDDED_AT_ONCE = 100


@dataclass(slots=True)
class Preparation:
    """The seeds and themes of a job, and the message lines that report them."""

    seeds: list[Item]
    themes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    vectors: Vectors = field(default_factory=dict)
    """Embeddings of the seeds' inputs, where the engine has an embeddings model."""


async def prepare(request: GenerationRequest, calls: Calls, spending: Spending, job_id: str) -> Preparation:
    """The preparation of a job; every answer is recorded, so that each attempt builds on the same one.

    Raises:
        CeilingReached, JobStopped: as `Calls.ask` does.
    """
    prepared = Preparation(list(request.seeds))
    if not (request.seeds or request.description or request.system_prompt):
        prepared.messages.append("No description, system prompt or seeds: making data for a general-purpose assistant")
    if not request.seeds:
        await _invent_seeds(prepared, request, calls, spending, job_id)
    if request.policy.theme_probability:
        await _invent_themes(prepared, request, calls, spending, job_id)
    texts = list(dict.fromkeys(seed.llm_input for seed in prepared.seeds))
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        prepared.vectors |= await calls.embed(f"seed-vectors-{start}", texts[start : start + _EMBEDDED_AT_ONCE])
    return prepared


async def _invent_seeds(
    prepared: Preparation, request: GenerationRequest, calls: Calls, spending: Spending, job_id: str
) -> None:
    prompt = batch_prompt(request, [], None, request.batch_size, f"{job_id}:seeds")
    for attempt in range(_TRIES):
        answer = await calls.ask(spending, f"seeds-{attempt}", prompt, request.policy.temperature)
        items, _ = read_answer(answer.text, request)
        if items:
            prepared.seeds = list(items.values())
            prepared.messages.append(f"Invented {len(prepared.seeds)} seeds")
            return
    prepared.messages.append(f"Invented no seeds: {_TRIES} answers of the generator held none; continuing without")


async def _invent_themes(
    prepared: Preparation, request: GenerationRequest, calls: Calls, spending: Spending, job_id: str
) -> None:
    shown = prepared.seeds[:: -(-len(prepared.seeds) // _SHOWN_SEEDS) or 1]  # from all of the list
    prompt = themes_prompt(request, shown, _THEMES, f"{job_id}:themes")
    answer = await calls.ask(spending, "themes", prompt, request.policy.temperature)
    themes = [
        theme
        for value in read_list(answer.text, lambda value: bool(_themes_in(value))) or []
        for theme in _themes_in(value)
    ]
    prepared.themes = list(dict.fromkeys(themes))[: 2 * _THEMES]
    if prepared.themes:
        prepared.messages.append(f"Invented {len(prepared.themes)} themes: {'; '.join(prepared.themes)}")
    else:
        prepared.messages.append("Invented no themes: the generator's answer held none; continuing without")


def _themes_in(value: Any) -> list[str]:
    """The themes in an element of the answer: a text, an object that names one, or an object of numbered ones."""
    found: Sequence[Any] = [value]
    if isinstance(value, dict):
        named = [value[name] for name in _NAMES if name in value]
        found = named[:1] or [text for number, text in value.items() if number.isdecimal() or len(value) == 1]
    texts = [" ".join(text.split())[:_LONGEST_THEME] for text in found if isinstance(text, str)]
    return [text for text in texts if text]
