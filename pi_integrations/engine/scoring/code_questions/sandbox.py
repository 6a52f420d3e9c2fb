"""The sandbox's worker process: runs a user's `score` in pydantic-monty with every limit set, and explains failures.

Everything here runs in an interpreter of its own, away from the engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic_monty import (
    Monty,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySyntaxError,
    OSPolicy,
    ResourceLimits,
)

from pi_integrations.engine.parent_process import ParentProcess
from pi_integrations.engine.scoring.code_questions import CodeLimits
from pi_integrations.engine.scoring.code_questions.arguments import Refusal, bind, read_signature

__all__ = ["serve"]

_EXPLANATION_CHARACTERS = 2_000
# Follows the user's source, so that lines keep their numbers. It uses no name that the source could have redefined, and
# only short strings leave the sandbox, whatever `score` returned.
_CALL = f"""
match score(*_pi_positional, **_pi_keywords):
    case {{"score": _pi_score, "explanation": None}}:
        _pi_outcome = ["score", f"{{_pi_score!r:.200}}"]
    case {{"score": _pi_score, "explanation": _pi_explanation}}:
        _pi_outcome = ["score", f"{{_pi_score!r:.200}}", f"{{_pi_explanation!s:.{_EXPLANATION_CHARACTERS + 1}}}"]
    case {{"score": _pi_score}}:
        _pi_outcome = ["score", f"{{_pi_score!r:.200}}"]
    case _pi_other:
        _pi_outcome = ["other", f"{{_pi_other!r:.200}}"]
_pi_outcome
"""
_POLICY: OSPolicy = {"sleep": "zero", "random_start": {"seed": 0}}
_MESSAGE_CHARACTERS = 300
# The modules of pydantic-monty 1.4.0 that a score may want.
_MODULES = (
    "json, re, math, collections, itertools, functools, datetime, decimal, unicodedata, hashlib, base64, csv, random,"
    " copy, bisect, dataclasses and typing"
)


def serve(parent: ParentProcess) -> None:
    """Answers the engine's requests until it closes the pipe; each runs in a session of its own."""
    _disable_core_dumps()
    limits = CodeLimits(**parent.receive())
    # The interpreter stops itself at its limit; monty ends it two seconds later, and the pool the worker after five.
    monty = Monty(max_processes=1, request_timeout=limits.seconds + 2)
    with monty:
        parent.ready()
        while True:
            parent.send(_run(monty, limits, parent.receive()))


def _disable_core_dumps() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(monty: Monty, limits: CodeLimits, request: Mapping[str, Any]) -> dict[str, Any]:
    """`{"score": float, "explanation": str | None}`, or `{"reason": str, "retryable": bool}`."""
    source = request["python_code"].removeprefix("\ufeff")
    texts = request["response_text"], request["input_text"]
    try:
        positional, keywords = bind(read_signature(source), *texts, request["kwargs"])
        inputs = {"_pi_positional": positional, "_pi_keywords": keywords, "__name__": "python_code"}
        return _reply(_outcome(monty, limits, source, inputs))
    except Refusal as refusal:
        return {"reason": str(refusal), "retryable": refusal.retryable}


def _outcome(monty: Monty, limits: CodeLimits, source: str, inputs: dict[str, Any]) -> Any:
    try:
        with monty.checkout(limits=_resources(limits), os_policy=_POLICY) as session:
            return session.feed_run(f"{source}\n{_CALL}", inputs=inputs, print_callback=_drop)
    except MontyError as error:
        raise _refusal_of(error, limits, lines=source.count("\n") + 1) from None


def _resources(limits: CodeLimits) -> ResourceLimits:
    return {
        "max_feed_duration_secs": limits.seconds,
        "max_memory": limits.memory_bytes,
        "max_recursion_depth": limits.recursion_depth,
        "max_suspensions": 1000,
        "max_total_sleep_secs": 0,
    }


def _drop(stream: str, text: str) -> None:
    """Drops what the code prints."""


def _reply(outcome: Any) -> dict[str, Any]:
    match outcome:
        case ["score", str(score)]:
            return {"score": _number(score), "explanation": None}
        case ["score", str(score), str(explanation)]:
            return {"score": _number(score), "explanation": _shortened(explanation)}
        case ["other", str(returned)]:
            raise Refusal(f"score returned {returned}; return {{'score': number in [0, 1]}}")
    # The sandbox lets a module return, which Python does not.
    raise Refusal("python_code ended before score was called; remove the return outside a function")


def _number(shown: str) -> float:
    try:
        number = {"True": 1.0, "False": 0.0}.get(shown)
        number = float(shown) if number is None else number
    except ValueError:
        raise Refusal(f"score returned {{'score': {shown}}}, which is not a number") from None
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise Refusal(f"score returned {{'score': {shown}}}, which is not in [0, 1]")
    return number + 0.0


def _shortened(explanation: str) -> str:
    fits = len(explanation) <= _EXPLANATION_CHARACTERS
    return explanation if fits else explanation[:_EXPLANATION_CHARACTERS] + "…"


def _refusal_of(error: MontyError, limits: CodeLimits, *, lines: int) -> Refusal:
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
