"""The exchange in an agent's messages, read in one pass: this may run on the application's own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pi_integrations.langchain.messages import is_summary

__all__ = ["read_state_answer"]

_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
_Turn = tuple[str, str]


def read_state_answer(inputs: Any, messages: Sequence[Any]) -> dict[str, Any] | None:
    """The arguments of `submit`, equal to the result of `ExchangeReader`, which composes them at once.

    None when that reader is needed: for contents that are not text, unusual messages, or a state without the run's
    inputs.
    """
    turns = [_turn(message) for message in messages]
    known = set(turns)
    asked = _asked(inputs)
    if None in known or asked is None or not known.issuperset(asked):
        return None
    return _parts([turn for turn in turns if turn is not None])


def _parts(turns: list[_Turn]) -> dict[str, Any]:
    *before, (_, answer) = turns
    position = max((i for i, (role, _) in enumerate(before) if role == "user"), default=len(before))
    return {
        "llm_input": before[position][1] if position < len(before) else "",
        "llm_output": answer,
        "system_prompt": "\n\n".join(text for role, text in before if role == "system"),
        "history": [(role, text) for role, text in before[:position] if role != "system" and text],
        "contexts": [text for role, text in before[position + 1 :] if role == "tool"],
    }


def _asked(inputs: Any) -> list[_Turn | None] | None:
    if not isinstance(inputs, Mapping):  # the input of a resumed graph is a command
        return []
    messages = inputs.get("messages")
    return [_turn(message) for message in messages] if isinstance(messages, list) else None


def _turn(message: Any) -> _Turn | None:
    """Role and text of a message in a usual shape; None for any other."""
    if type(message) is tuple and len(message) == 2:
        role, text = message
    elif type(message) is dict:
        role, text = (message["role"], message["content"]) if message.keys() == {"role", "content"} else (None, None)
    else:
        role, text = getattr(message, "type", None), getattr(message, "content", None)
        if role == "human" and is_summary(message):
            return None
    return (_ROLES[role], text) if type(text) is str and type(role) is str and role in _ROLES else None
