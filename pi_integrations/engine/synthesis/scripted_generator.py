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

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, SkipValidation

from pi_integrations.engine.synthesis import scripted_words as words

__all__ = ["ScriptedGenerator"]

Said: TypeAlias = str | AIMessage | BaseException | None
_WANTED = re.compile(r"exactly (\d+) (pairs|inputs|themes|verdicts) and nothing else")
_ITEM = re.compile(r"^BEGIN ITEM (\d+) ", re.MULTILINE)


class ScriptedGenerator(BaseChatModel):
    """Writes what the engine's generation asks for, out of built-in words: distinct pairs and inputs, themes, verdicts
    that all is good, and responses to inputs.

    What it writes follows from the prompt alone, so that the same prompt gets the same answer in every process. Some
    thousands of its inputs are unlike each other.

    Args:
        answers: Instead of its own: one after the other until they are used up, or a function of the prompt's text. An
            exception is raised; None stands for its own answer.
        latency: Seconds an answer takes.
        usage: Whether it reports tokens: a quarter of the characters read and written.
        temperature: As a provider's model has it; it changes nothing.
        record: Whether prompts are kept in `asked`.

    Attributes:
        asked: The text of each prompt's last message so far, in order.

    Example:
        >>> model = ScriptedGenerator(answers=["[]"])
        >>> model.invoke("Anything").text, model.asked
        ('[]', ['Anything'])
    """

    answers: SkipValidation[Sequence[Said] | Callable[[str], Said]] = ()
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

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(self.latency)
        return self._result(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.latency)
        return self._result(messages)

    def _result(self, messages: list[BaseMessage]) -> ChatResult:
        prompt = str(messages[-1].text)
        if self.record:
            self.asked.append(prompt)
        said = self._said(prompt)
        if isinstance(said, BaseException):
            raise said
        if not isinstance(said, AIMessage):
            read = sum(len(str(message.text)) for message in messages)
            said = AIMessage(said or "", usage_metadata=_usage(read, len(said or "")) if self.usage else None)
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _said(self, prompt: str) -> Said:
        given = self.answers(prompt) if callable(self.answers) else self.left.pop(0) if self.left else None
        return _own_answer(prompt) if given is None else given


def _own_answer(prompt: str) -> str:
    rng = random.Random(hashlib.sha256(prompt.encode("utf-8", "replace")).digest())
    wanted = _WANTED.findall(prompt)
    if not wanted:
        return _filled(rng.choice(words.ANSWERS), _filling(rng))
    count, what = int(wanted[-1][0]), wanted[-1][1]
    if what == "verdicts":
        return json.dumps([{"item": int(number), "good": True} for number in _ITEM.findall(prompt)])
    if what == "themes":
        return json.dumps(rng.sample(words.THEMES, min(count, len(words.THEMES))))
    return json.dumps([_item(rng, what) for _ in range(count)])


def _item(rng: random.Random, what: str) -> Any:
    filling = _filling(rng)
    llm_input = _filled(rng.choice(words.QUESTIONS), filling)
    return (
        llm_input
        if what == "inputs"
        else {
            "llm_input": llm_input,
            "llm_output": _filled(rng.choice(words.ANSWERS), filling),
        }
    )


def _filling(rng: random.Random) -> dict[str, str]:
    return {
        "subject": rng.choice(words.SUBJECTS),
        "action": rng.choice(words.ACTIONS),
        "trait": rng.choice(words.TRAITS),
        "context": rng.choice(words.CONTEXTS),
    }


def _filled(template: str, filling: dict[str, str]) -> str:
    text = template.format(**filling)
    return text[0].upper() + text[1:]


def _usage(read: int, written: int) -> UsageMetadata:
    tokens = (read // 4 + 1, written // 4 + 1)
    return UsageMetadata(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
