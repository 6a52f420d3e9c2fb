"""The state that a decision is about, as an exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pi_integrations.langchain.exchange import EXTRAS, Exchange, ExchangeReader
from pi_integrations.langchain.messages import Turn, is_message, read_turns
from pi_integrations.langchain.texts import plain_text

__all__ = ["read_state"]

_INPUTS = ("llm_input", "input")
_OUTPUTS = ("llm_output", "output")
_reader = ExchangeReader()


def read_state(state: Any) -> Exchange:
    """The exchange: the judged text as `llm_output`, what it answers as `llm_input`; see `PiDecisionModel`.

    Raises:
        PiUsageError: when it is neither text, nor messages, nor JSON.
    """
    if isinstance(state, Mapping) and list(state) == ["messages"]:
        state = state["messages"]
    if isinstance(state, Mapping) and not is_message(state):
        return _of_exchange(state) if _is_exchange(state) else Exchange("", plain_text("state", _plain(state)))
    turns = read_turns(state, "user")
    if not turns:
        return Exchange("", plain_text("state", _plain(state)))
    return _of_talk(turns)


def _is_exchange(state: Mapping[str, Any]) -> bool:
    known = {*_INPUTS, *_OUTPUTS, *EXTRAS, "reference"}
    return any(name in state for name in _OUTPUTS) and known.issuperset(state)


def _of_exchange(state: Mapping[str, Any]) -> Exchange:
    asked = next((state[name] for name in _INPUTS if name in state), "")
    judged = next(state[name] for name in _OUTPUTS if name in state)
    extras = {name: state[name] for name in EXTRAS if name in state}
    return _reader.read(asked, judged, state.get("reference"), **extras)


def _of_talk(turns: Sequence[Turn]) -> Exchange:
    """The last turn is judged; the earlier turns are its context."""
    *before, last = turns
    if last.role == "assistant" and last.text:
        return _reader.read([_pair(turn) for turn in before], last.text)
    history = [_pair(turn) for turn in before if turn.role != "system"]
    system = "\n\n".join(turn.text for turn in before if turn.role == "system")
    return _reader.read("", last.text, history=history, system_prompt=system)


def _pair(turn: Turn) -> tuple[str, str]:
    return turn.role, turn.text


def _plain(value: Any) -> Any:
    """`value` in a form that JSON can hold: messages become role and content, with their tool calls."""
    if hasattr(value, "content") and hasattr(value, "type"):
        return _message(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    return value


def _message(message: Any) -> dict[str, Any]:
    turns = read_turns(message, "user") or []
    calls = [{"name": call["name"], "args": call["args"]} for call in getattr(message, "tool_calls", None) or ()]
    said = {"role": turns[0].role, "content": turns[0].text}
    return {**said, "tool_calls": calls} if calls else said
