"""What went wrong in the sandbox, in words for the person who wrote the code."""

from __future__ import annotations

from pydantic_monty import MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError

from pi_integrations.engine.scoring.code_questions.limits import CodeLimits
from pi_integrations.engine.scoring.code_questions.sandbox.refusal import Refusal

__all__ = ["refusal_of"]

_MESSAGE_CHARACTERS = 300
# The modules of pydantic-monty 1.4.0 that a score may want.
_MODULES = (
    "json, re, math, collections, itertools, functools, datetime, decimal, unicodedata, hashlib, base64, csv, random,"
    " copy, bisect, dataclasses and typing"
)


def refusal_of(error: MontyError, limits: CodeLimits, *, lines: int) -> Refusal:
    """The reason behind `error`, with the innermost line of the user's source, which has `lines` lines."""
    too_long = Refusal(f"python_code ran longer than its {limits.seconds:g} s limit")
    if isinstance(error, MontyCrashedError):
        return too_long if error.timed_out else Refusal("the sandbox crashed while it ran python_code", retryable=True)
    kind, message = _kind_and_message(error)
    if kind == "TimeoutError" and "time limit exceeded" in message:
        return too_long
    if kind == "MemoryError" and "memory limit" in message:
        return Refusal(f"python_code used more memory than its limit of {limits.memory_bytes / 2**20:g} MiB")
    if kind == "RecursionError":
        message += f" (the limit is {limits.recursion_depth} calls)"
    if kind == "ModuleNotFoundError":
        message += f"; the sandbox has {_MODULES}"
    return Refusal(f"python_code{_where(error, lines)}: {kind}: {message}".removesuffix(": "))


def _kind_and_message(error: MontyError) -> tuple[str, str]:
    text = error.display("type-msg") if isinstance(error, MontyRuntimeError | MontySyntaxError) else str(error)
    kind, _, message = text.partition(": ")
    words = " ".join(message.split())
    return kind, words if len(words) <= _MESSAGE_CHARACTERS else words[:_MESSAGE_CHARACTERS] + "…"


def _where(error: MontyError, lines: int) -> str:
    frames = error.traceback() if isinstance(error, MontyRuntimeError | MontySyntaxError) else []
    own = [frame.line for frame in frames if frame.filename.startswith("<python-input") and frame.line <= lines]
    return f", line {own[-1]}" if own else ""
