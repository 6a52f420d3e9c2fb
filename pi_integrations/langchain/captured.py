"""What a run was given or gave, as it was at that moment: it is read later, and the application may go on to change it.

Kept are the lists, the mappings and the contents of messages, which costs less than reading them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Captured", "kept"]


class Captured:
    """Outputs of a run.

    Example:
        >>> messages = ["How long?", "A week."]
        >>> captured = Captured({"messages": messages})
        >>> messages.append("Thanks!")
        >>> captured.outputs()
        {'messages': ['How long?', 'A week.']}
    """

    __slots__ = ("_contents", "_outputs")

    def __init__(self, outputs: Any) -> None:
        self._contents: list[Any] | None = None
        self._outputs = outputs
        if isinstance(outputs, str):
            return
        self._outputs = outputs = kept(outputs)
        messages = outputs.get("messages") if type(outputs) is dict else outputs
        if type(messages) is list:
            self._contents = [_content(each) for each in messages]
        elif hasattr(outputs, "content"):
            self._contents = [outputs.content]

    def outputs(self) -> Any:
        """The outputs as they were."""
        outputs, contents = self._outputs, self._contents
        if contents is None:
            return outputs
        if type(outputs) is list:
            return _as_they_were(outputs, contents)
        if type(outputs) is dict:
            return {**outputs, "messages": _as_they_were(outputs["messages"], contents)}
        return _as_it_was(outputs, contents[0])


def kept(value: Any) -> Any:
    """A list, a mapping, or a mapping with lists, which stay as they are whatever becomes of `value`."""
    if type(value) is list:
        return value.copy()
    if not isinstance(value, dict):
        return value
    copied = dict(value)
    for name, part in value.items():
        if type(part) is list:
            copied[name] = part.copy()
    return copied


def _content(message: Any) -> Any:
    return message.copy() if type(message) is dict else getattr(message, "content", None)


def _as_they_were(messages: Sequence[Any], contents: Sequence[Any]) -> list[Any]:
    return [_as_it_was(message, content) for message, content in zip(messages, contents, strict=True)]


def _as_it_was(message: Any, content: Any) -> Any:
    if type(message) is dict:
        return content
    if getattr(message, "content", None) is content or not hasattr(message, "model_copy"):
        return message
    return message.model_copy(update={"content": content})
