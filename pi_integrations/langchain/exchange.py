"""Converts the inputs and outputs of LangChain and LangSmith to the API's one input and one output.

The inputs' and the outputs' messages make one conversation. Its last message is the answer, the last user message
before that is the input, and the rest enters by the template of `compose_llm_input`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.contexts import find_contexts, read_contexts
from pi_integrations.langchain.fields import CONTEXT_KEYS, INPUT_NAMES, opened
from pi_integrations.langchain.messages import Turn, read_turns
from pi_integrations.langchain.texts import Key, Side, plain_text, select
from pi_integrations.models import compose_llm_input

__all__ = ["EXTRAS", "Exchange", "ExchangeReader", "NoAnswer"]

EXTRAS = ("context", "contexts", "system_prompt", "history", "kwargs")
"""Keyword arguments of `ExchangeReader.read`."""

_INPUTS = Side("inputs", "input_key", "user", INPUT_NAMES, is_state=True)
_OUTPUTS = Side("outputs", "output_key", "assistant", ("llm_output", "output", "answer", "response"))
_REFERENCE = Side("reference_outputs", "reference_key", "assistant", (*_OUTPUTS.names, "reference"))


class NoAnswer(PiUsageError):
    """The outputs hold nothing where the answer would be."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The texts to be scored; `kwargs` is for code questions."""

    llm_input: str
    llm_output: str
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExchangeReader:
    """Finds the exchange in inputs, outputs and reference outputs.

    A string is the text itself. A message or a list of messages is read as chat. Of a mapping, the entry that the key
    names counts; without a key `messages`, `content`, its only entry, or the only one with a usual name (such as
    `question` or `answer`). A pydantic model or dataclass is like a mapping of its fields when it is the input, or when
    there is a key. What is no text is written as JSON.

    Args:
        input_key: Where the input is: a name, or a function of the inputs.
        output_key: Where the answer is: a name, or a function of the outputs.
        reference_key: Where the reference answer is: a name, or a function of the reference outputs; one that returns
            None leaves the reference out.
        context_key: Where retrieved passages are: a name in the outputs or else the inputs, or a function of the
            outputs; default `contexts` or `context`, else what the tools called for this answer returned.
    """

    input_key: Key | None = None
    output_key: Key | None = None
    reference_key: Key | None = None
    context_key: Key | None = None

    def read(
        self,
        inputs: Any,
        outputs: Any,
        reference_outputs: Any = None,
        *,
        context: Any = None,
        contexts: Any = None,
        system_prompt: str | None = None,
        history: Any = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Exchange:
        """The exchange; keyword arguments override values found in inputs and outputs.

        Raises:
            NoAnswer: when there is nothing to score.
            PiUsageError: naming the entry that is missing or unclear, and the key to pass.
        """
        outputs = self.opened(outputs)
        talk = _Conversation.of(self._turns(_INPUTS, inputs), self._turns(_OUTPUTS, outputs))
        given = context if contexts is None else contexts
        found = find_contexts(inputs, outputs, self.context_key) if given is None else read_contexts(given)
        reference = self._turns(_REFERENCE, reference_outputs)
        llm_input = compose_llm_input(
            talk.question,
            system_prompt=talk.system_prompt if system_prompt is None else system_prompt,
            history=_pairs(talk.history if history is None else _earlier(history)),
            contexts=talk.tool_results if found is None else found,
            reference=reference[-1].text if reference else None,
        )
        return Exchange(llm_input, talk.answer, kwargs)

    def opened(self, outputs: Any) -> Any:
        """`outputs`; when they are a model or dataclass and a key names a part of it, a mapping of its fields."""
        return outputs if callable(self.context_key) else opened(outputs, self.output_key)

    def _turns(self, side: Side, value: Any) -> list[Turn]:
        key = getattr(self, side.argument)
        apart_from = (self.context_key,) if isinstance(self.context_key, str) else CONTEXT_KEYS
        value = opened(value, key, is_state=side.is_state)
        chosen = select(side, value, key, apart_from=apart_from)
        if chosen is None:
            return []
        turns = read_turns(chosen, side.role, has_texts=_are_messages(value, chosen))
        return [Turn(side.role, plain_text(side.name, chosen, side.argument))] if turns is None else turns


@dataclass(frozen=True, slots=True)
class _Conversation:
    question: str
    answer: str
    system_prompt: str
    history: Sequence[Turn]
    tool_results: Sequence[str]

    @classmethod
    def of(cls, asked: list[Turn], answered: list[Turn]) -> _Conversation:
        if asked and asked[-1] in answered:  # an agent's state repeats its inputs
            asked = [turn for turn in asked if turn not in answered]
        turns = asked + _with_answer(answered)
        # A summary stands for all that came before it, the question included.
        *before, last = sorted(turns, key=lambda turn: turn.role != "summary")
        position = max((i for i, turn in enumerate(before) if turn.role == "user"), default=len(before))
        return cls(
            question="".join(turn.text for turn in before[position : position + 1]),
            answer=last.text,
            system_prompt="\n\n".join(turn.text for turn in before if turn.role == "system"),
            history=before[:position],
            tool_results=[turn.text for turn in before[position + 1 :] if turn.role == "tool"],
        )


def _are_messages(value: Any, chosen: Any) -> bool:
    return isinstance(value, Mapping) and value.get("messages") is chosen


def _with_answer(answered: list[Turn]) -> list[Turn]:
    if not answered:
        raise NoAnswer("outputs is empty, so there is no answer to score. Did the application fail?")
    if answered[-1].calls_tools and not answered[-1].text:
        raise NoAnswer(
            "outputs ends in a message that calls tools and says nothing, so there is no answer to score; pass"
            " output_key= as a function that returns the text to score"
        )
    return answered


def _earlier(history: Any) -> list[Turn]:
    turns = read_turns(history, "user", has_names=True)
    if turns is None:
        raise PiUsageError(f"history is a {type(history).__name__}; give messages, or pairs of role and text")
    return turns


def _pairs(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in turns if turn.role != "system" and turn.text]
