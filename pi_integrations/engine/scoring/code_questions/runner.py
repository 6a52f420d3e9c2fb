"""Code questions, as the score service asks them: source and an exchange in, a verdict out, from a pool of workers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.processes import ChildEnded, ChildFailed, ChildProcess, encode
from pi_integrations.engine.scoring.code_questions import CodeLimits
from pi_integrations.engine.threads import run_last, shut_down

__all__ = ["CodeRunner"]

# Worker processes rather than pydantic-monty's own pool: pydantic-monty 1.4.0 hangs or crashes in a process that forked
# after using it, and its threads may abort an interpreter that is shutting down.
_WORKER = "pi_integrations.engine.scoring.code_questions.sandbox:serve"
# No API key or other secret of the engine's environment reaches a worker.
_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "MONTY_BIN")
_STARTUP_SECONDS = 30.0
# The worker stops the code itself at its limit. This much later the worker is given up.
_GRACE_SECONDS = 5.0
_EXIT_SECONDS = 1.0

_T = TypeVar("_T")


class CodeRunner:
    """Runs users' `score` functions in worker processes with limits.

    The function is called by its signature: `(response_text, input_text, kwargs)`, where `kwargs` is a dict,
    `(response_text, input_text, **kwargs)` or `(**kwargs)`. It returns `{"score": number in [0, 1]}`, optionally with
    an `"explanation"`. Each call gets a fresh interpreter: nothing is left from the call before, `random` starts from
    the same seed, `sleep` returns at once, and prints are dropped.

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
        self._pool = _SandboxPool(limits)

    async def score(self, python_code: str, exchange: Exchange, kwargs: Mapping[str, Any]) -> Verdict:
        """The verdict of `python_code` on `exchange`: a score in [0, 1], or unscored with the reason.

        Args:
            python_code: Source that defines `score` at its top level.
            exchange: The input and the output to score. Where `llm_output` is a JSON object, its keys are keyword
                arguments too.
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
        except _SandboxUnavailable as error:
            return _unscored(str(error), retryable=True)

    async def aclose(self) -> None:
        """Ends the workers; later calls are unscored."""
        await self._own_pool().aclose()

    def _own_pool(self) -> _SandboxPool:
        if self._pool.owner != os.getpid():
            self._pool.forget()
            self._pool = _SandboxPool(self._limits)
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


class _SandboxUnavailable(Exception):
    """The worker did not start, or ended, for reasons that are not known to be the user's code."""


class _SandboxPool:
    """At most `limits.workers` worker processes of this process, started when needed and replaced when lost."""

    def __init__(self, limits: CodeLimits) -> None:
        self.owner = os.getpid()
        self._limits = limits
        self._free = asyncio.Semaphore(limits.workers)
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="pi-code-question")

    async def ask(self, request: bytes) -> dict[str, Any]:
        """A worker's reply to `request`, or _SandboxUnavailable. A call that is cancelled or late costs its worker."""
        async with self._free:
            worker = self._take()
            try:
                reply = await self._ask(worker, request)
            except BaseException:
                worker.kill()
                self._threads.submit(worker.stop, 0)
                raise
            else:
                self._idle.append(worker)
            finally:
                self._busy.discard(worker)
            return reply

    async def aclose(self) -> None:
        """Ends every worker, with the calls in flight; waiting calls are refused."""
        if self._closed:
            return
        self._closed = True
        for worker in self._busy:
            worker.kill()
        await self._drain()
        for worker in self._idle:
            run_last(self._threads, partial(worker.stop, _EXIT_SECONDS))
        await shut_down(self._threads)

    def forget(self) -> None:
        """In a forked child: lets go of the workers, which stay the parent's."""
        for worker in [*self._idle, *self._busy]:
            worker.forget()

    async def _drain(self) -> None:
        """Waits until no call holds a slot; calls that waited for one get it first, and are refused."""
        for _ in range(self._limits.workers):
            await self._free.acquire()
        for _ in range(self._limits.workers):
            self._free.release()

    def _take(self) -> ChildProcess:
        if self._closed:
            raise _SandboxUnavailable("the engine is stopping; send the request again")
        worker = self._idle.pop() if self._idle else _new_worker()
        if worker.started and not worker.alive:
            self._threads.submit(worker.stop, 0)
            worker = _new_worker()
        self._busy.add(worker)
        return worker

    async def _ask(self, worker: ChildProcess, request: bytes) -> dict[str, Any]:
        if not worker.started:
            try:
                await self._in_thread(_STARTUP_SECONDS, worker.start, asdict(self._limits))
            except (ImportError, OSError, ChildFailed, ChildEnded) as error:
                raise _SandboxUnavailable(f"the sandbox could not be started: {error}") from error
        try:
            return await self._in_thread(self._limits.seconds + _GRACE_SECONDS, worker.ask, request)
        except ChildEnded as error:
            raise _SandboxUnavailable(
                f"the sandbox process {error} while it ran python_code; try again, and check the machine's memory if it"
                " happens twice"
            ) from None

    async def _in_thread(self, seconds: float, work: Callable[..., _T], *args: Any) -> _T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, work, *args)
        except TimeoutError:
            raise _SandboxUnavailable(
                f"the sandbox did not answer within {seconds:g} s; the machine may be overloaded, try again"
            ) from None


def _new_worker() -> ChildProcess:
    return ChildProcess(_WORKER, environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ})
