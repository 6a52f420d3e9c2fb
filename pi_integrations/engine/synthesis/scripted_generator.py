"""A chat model that needs no network: for tests, documentation, demonstrations and benchmarks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, SkipValidation

__all__ = ["ScriptedGenerator"]

_Answer: TypeAlias = str | AIMessage | BaseException | None
_WANTED = re.compile(r"exactly (\d+) (pairs|inputs|themes|verdicts) and nothing else")
_ITEM = re.compile(r"^BEGIN ITEM (\d+) ", re.MULTILINE)


class ScriptedGenerator(BaseChatModel):
    """Answers the prompts of the engine's generation out of built-in words: distinct pairs and inputs, themes, verdicts
    that every item is good, and responses to inputs.

    An answer follows from the prompt alone, so that the same prompt gets the same answer in every process. Some
    thousands of its inputs are unlike each other.

    Attributes:
        answers: Instead of its own: one after the other until they are used up, or a function of the prompt's text. An
            exception is raised; None stands for its own answer.
        latency: Seconds an answer takes.
        usage: Whether it reports tokens: a quarter of the characters read and written.
        temperature: A setting that a provider's model has; it changes nothing.
        record: Whether prompts are kept in `asked`.
        asked: The text of each prompt's last message so far, in order.

    Example:
        >>> model = ScriptedGenerator(answers=["[]"])
        >>> model.invoke("Anything").text, model.asked
        ('[]', ['Anything'])
    """

    answers: SkipValidation[Sequence[_Answer] | Callable[[str], _Answer]] = ()
    latency: float = 0.0
    usage: bool = True
    temperature: float = 1.0
    record: bool = True
    asked: list[str] = Field(default_factory=list)
    left: list[Any] = Field(default_factory=list, exclude=True)

    def model_post_init(self, context: Any) -> None:
        """Copies of the model, one for each temperature, use up the same answers."""
        super().model_post_init(context)
        if not callable(self.answers):
            self.left.extend(self.answers)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        time.sleep(self.latency)
        return self._result(messages)

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(self.latency)
        return self._result(messages)

    def _result(self, messages: list[BaseMessage]) -> ChatResult:
        prompt = str(messages[-1].text)
        if self.record:
            self.asked.append(prompt)
        answer = self._answer(prompt)
        if isinstance(answer, BaseException):
            raise answer
        if not isinstance(answer, AIMessage):
            read = sum(len(str(message.text)) for message in messages)
            usage = _usage(read, len(answer or "")) if self.usage else None
            answer = AIMessage(answer or "", usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _answer(self, prompt: str) -> _Answer:
        given = self.answers(prompt) if callable(self.answers) else self.left.pop(0) if self.left else None
        return _scripted_answer(prompt) if given is None else given


def _scripted_answer(prompt: str) -> str:
    rng = random.Random(hashlib.sha256(prompt.encode("utf-8", "replace")).digest())
    wanted = _WANTED.findall(prompt)
    if not wanted:
        return _filled(rng.choice(_ANSWERS), _filling(rng))
    # The last, since material that is quoted before it may hold the same words.
    count, what = int(wanted[-1][0]), wanted[-1][1]
    if what == "verdicts":
        return json.dumps([{"item": int(number), "good": True} for number in _ITEM.findall(prompt)])
    if what == "themes":
        return json.dumps(rng.sample(_THEMES, min(count, len(_THEMES))))
    return json.dumps([_item(rng, what) for _ in range(count)])


def _item(rng: random.Random, what: str) -> Any:
    filling = _filling(rng)
    llm_input = _filled(rng.choice(_QUESTIONS), filling)
    if what == "inputs":
        return llm_input
    return {"llm_input": llm_input, "llm_output": _filled(rng.choice(_ANSWERS), filling)}


def _filling(rng: random.Random) -> dict[str, str]:
    return {
        "subject": rng.choice(_SUBJECTS),
        "action": rng.choice(_ACTIONS),
        "trait": rng.choice(_TRAITS),
        "context": rng.choice(_CONTEXTS),
    }


def _filled(template: str, filling: dict[str, str]) -> str:
    text = template.format(**filling)
    return text[0].upper() + text[1:]


def _usage(read: int, written: int) -> UsageMetadata:
    tokens = (read // 4 + 1, written // 4 + 1)
    return UsageMetadata(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


_SUBJECTS = _listed(
    """
    sourdough bread, mountain bikes, tax returns, violin lessons, garden ponds, winter tents, job interviews, solar
    panels, train timetables, chess openings, houseplants, wedding speeches, water colours, data backups, beehives,
    marathon training, vintage cameras, cheese platters, rental contracts, night photography, sailing knots, bedtime
    stories, coffee roasting, museum tours, puppy schools, language exams, kitchen knives, insurance claims, kite
    festivals, model railways, thunderstorms, choir rehearsals, budget spreadsheets, pottery glazes, hiking boots,
    aquarium filters, podcast editing, apple orchards, moving vans, birthday cakes, radio plays, rooftop gardens,
    ski passes, crossword puzzles, wood carving, night markets, ferry crossings, jazz pianos, compost heaps,
    telescope lenses
    """
)
_ACTIONS = _listed(
    """
    choose, compare, repair, explain, plan, photograph, store, insure, teach, improve, clean, sell, describe,
    schedule, replace, measure, decorate, transport, translate, review, organise, simplify, price, test, restore
    """
)
_TRAITS = _listed(
    """
    affordable, fragile, noisy, award-winning, half-finished, second-hand, old-fashioned, lightweight, mysterious,
    overrated, waterproof, seasonal, handmade, imported, confusing, delicate, enormous, unfinished, colourful,
    reliable, rusty, experimental, traditional, portable, luxurious
    """
)
_CONTEXTS = _listed(
    """
    before my sister arrives on Friday, with two toddlers in the house, on a very small budget, in a damp basement
    flat, for a class of thirty pupils, without any power tools, during the rainy season, while travelling through
    Portugal, for my grandfather's eightieth birthday, after moving to the countryside, when the weather turns cold,
    for a charity auction in May, from a wheelchair, in less than twenty minutes, next to a busy motorway, as a
    complete beginner, for an audience of engineers, with help from neighbours, at an altitude of two thousand
    metres, once the shops have closed, in a village without internet, for a vegan household, under strict hygiene
    rules, as a surprise for colleagues, over a long weekend
    """
)
_QUESTIONS = (
    "How would you {action} {trait} {subject} {context}?",
    "I need to {action} some {subject} {context}. They are {trait}. Where do I begin?",
    "Could you {action} these {trait} {subject} for me, {context}?",
    "Give me three ideas to {action} {subject} that feel {trait} {context}.",
    "Why do people {action} {subject} {context}, even if they look {trait}?",
    "My neighbour says nobody should {action} {trait} {subject} {context}. Is that right?",
    "{context}, what is a sensible way to {action} {subject}? Ours seem {trait}.",
    "Write a note to a friend who wants to {action} {trait} {subject} {context}.",
)
_ANSWERS = (
    "Begin small: {action} one part of the {subject} first, note what is {trait}, and carry on {context}.",
    "There are two ways. The quick one is to {action} the {subject} as they are; the {trait} side can wait {context}.",
    "Yes, and many do. If your {subject} are {trait}, set an hour aside to {action} them {context}.",
    "I would not rush. Ask somebody who knows {subject}, then {action} only what is truly {trait} {context}.",
)
_THEMES = _listed(
    """
    getting started, saving money, common mistakes, advice for families, working under time pressure, unusual
    places, choosing between options, planning an event, fixing what broke, explaining to others, seasonal
    questions, safety first, working with little space, gifts and surprises, long journeys
    """
)
