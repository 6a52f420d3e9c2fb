"""The worker processes of one engine process: at most `workers` at once, started as needed, replaced when lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pi_integrations.engine.scoring.code_questions.limits import CodeLimits
from pi_integrations.engine.scoring.code_questions.process import SandboxProcess, SandboxUnavailable
from pi_integrations.engine.threads import run_last, shut_down

__all__ = ["SandboxPool"]

_STARTUP_SECONDS = 30.0
# The worker stops the code itself at its limit. This much later the worker is taken for lost.
_GRACE_SECONDS = 5.0

_T = TypeVar("_T")


class SandboxPool:
    """Worker processes, owned by the process that made the pool."""

    def __init__(self, limits: CodeLimits) -> None:
        self.owner = os.getpid()
        self._limits = limits
        self._free = asyncio.Semaphore(limits.workers)
        self._idle: list[SandboxProcess] = []
        self._busy: set[SandboxProcess] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="pi-code-question")

    async def ask(self, request: bytes) -> dict[str, Any]:
        """A worker's reply to `request`. A cancelled or late call takes its worker with it.

        Raises:
            SandboxUnavailable: when no worker could start or the worker was lost.
        """
        async with self._free:
            process = self._take()
            try:
                reply = await self._ask(process, request)
            except BaseException:
                process.kill()
                self._threads.submit(process.stop)
                raise
            else:
                self._idle.append(process)
            finally:
                self._busy.discard(process)
            return reply

    async def aclose(self) -> None:
        """Ends every worker. Calls in flight lose theirs, and calls that wait get none."""
        if self._closed:
            return
        self._closed = True
        for process in self._busy:
            process.kill()
        await self._drain()
        for process in self._idle:
            run_last(self._threads, process.stop)
        await shut_down(self._threads)

    def forget(self) -> None:
        """Lets go of everything in a forked child; the parent's workers stay as they are."""
        for process in [*self._idle, *self._busy]:
            process.forget()

    async def _drain(self) -> None:
        """Waits until no call holds a slot; those that waited for one before us get it first, and are turned away."""
        for _ in range(self._limits.workers):
            await self._free.acquire()
        for _ in range(self._limits.workers):
            self._free.release()

    def _take(self) -> SandboxProcess:
        if self._closed:
            raise SandboxUnavailable("the engine is stopping; send the request again")
        process = self._idle.pop() if self._idle else SandboxProcess(self._limits)
        if process.started and not process.alive:
            self._threads.submit(process.stop)
            process = SandboxProcess(self._limits)
        self._busy.add(process)
        return process

    async def _ask(self, process: SandboxProcess, request: bytes) -> dict[str, Any]:
        if not process.started:
            await self._in_thread(_STARTUP_SECONDS, process.start)
        return await self._in_thread(self._limits.seconds + _GRACE_SECONDS, process.ask, request)

    async def _in_thread(self, seconds: float, work: Callable[..., _T], *args: Any) -> _T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, work, *args)
        except TimeoutError:
            raise SandboxUnavailable(
                f"the sandbox did not answer within {seconds:g} s; the machine may be overloaded, try again"
            ) from None
