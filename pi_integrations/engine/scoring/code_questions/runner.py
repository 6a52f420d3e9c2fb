"""Code questions, as the score service asks them: source and an exchange in, a verdict out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.scoring.code_questions.frames import encode
from pi_integrations.engine.scoring.code_questions.limits import CodeLimits
from pi_integrations.engine.scoring.code_questions.pool import SandboxPool
from pi_integrations.engine.scoring.code_questions.process import SandboxUnavailable

__all__ = ["CodeRunner"]


class CodeRunner:
    """Runs `score` functions that users send, in worker processes with limits.

    The function is called by its signature: `(response_text, input_text, kwargs)`, where `kwargs` is a dict,
    `(response_text, input_text, **kwargs)` or `(**kwargs)`. It returns `{"score": number in [0, 1]}`, with an
    `"explanation"` if it likes. Each call sees a fresh interpreter: nothing is left over from the one before, `random`
    starts from the same seed, `sleep` returns at once, and what the code prints is dropped.

    Workers start when first needed. All calls are made on one event loop, the engine's; after a fork the child's first
    call starts workers of its own.

    Raises:
        ImportError: when pydantic-monty is not installed, with the command that installs it.

    Example:
        >>> import asyncio
        >>> async def main() -> float | None:
        ...     runner = CodeRunner()
        ...     code = "def score(response_text, input_text, kwargs): return {'score': len(response_text) <= 10}"
        ...     verdict = await runner.score(code, Exchange("Hello?", "Hi."), {})
        ...     await runner.aclose()
        ...     return verdict.score
        >>> asyncio.run(main())
        1.0
    """

    def __init__(self, limits: CodeLimits = CodeLimits()) -> None:  # noqa: B008 (frozen)
        if importlib.util.find_spec("pydantic_monty") is None:
            raise ImportError("code questions need pydantic-monty; run: pip install 'pi-integrations[engine]'")
        self._limits = limits
        self._pool = SandboxPool(limits)

    async def score(self, python_code: str, exchange: Exchange, kwargs: Mapping[str, Any]) -> Verdict:
        """What `python_code` says of `exchange`: a score in [0, 1], or a verdict without one that says why.

        Args:
            python_code: Source that defines `score` at its top level.
            exchange: The text to score and what was asked. When `llm_output` is a JSON object, its keys reach `score`
                as keyword arguments too.
            kwargs: The request's own keyword arguments, JSON values; they win over keys of `llm_output`, and
                `response_text` and `input_text` win over both.
        """
        if len(python_code) > self._limits.source_characters:
            return _unscored(f"python_code is longer than {self._limits.source_characters:,} characters; shorten it")
        try:
            request = _request(python_code, exchange, kwargs)
        except (TypeError, ValueError, RecursionError) as error:
            return _unscored(f"kwargs cannot be handed to python_code: {error}; send plain JSON values")
        try:
            return _verdict(await self._own_pool().ask(request))
        except SandboxUnavailable as error:
            return _unscored(str(error), retryable=True)

    async def aclose(self) -> None:
        """Ends the workers. Later calls come back unscored."""
        await self._own_pool().aclose()

    def _own_pool(self) -> SandboxPool:
        if self._pool.owner != os.getpid():
            self._pool.forget()
            self._pool = SandboxPool(self._limits)
        return self._pool


def _request(python_code: str, exchange: Exchange, kwargs: Mapping[str, Any]) -> bytes:
    return encode(
        {
            "python_code": python_code,
            "response_text": exchange.llm_output,
            "input_text": exchange.llm_input,
            "kwargs": dict(kwargs),
        }
    )


def _verdict(reply: Mapping[str, Any]) -> Verdict:
    if "reason" in reply:
        return _unscored(reply["reason"], retryable=reply["retryable"])
    return Verdict(score=reply["score"], method="code", explanation=reply["explanation"])


def _unscored(reason: str, *, retryable: bool = False) -> Verdict:
    return Verdict.unscored(reason, method="code", retryable=retryable)
