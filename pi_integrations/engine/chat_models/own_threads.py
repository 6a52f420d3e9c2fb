"""Threads for chat models that can only be called synchronously, shared with nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel

from pi_integrations.engine.chat_models.failures import NoAnswer

__all__ = ["CallThreads", "is_synchronous"]

T = TypeVar("T")
_MOST_LEFT_BEHIND = 64


def is_synchronous(model: BaseChatModel) -> bool:
    """Whether the model has no asynchronous calls of its own; LangChain then calls it on the loop's default threads."""
    kind = type(model)
    return kind._agenerate is BaseChatModel._agenerate and kind.ainvoke is BaseChatModel.ainvoke


class CallThreads:
    """A thread for each call, so that a call that hangs keeps nobody waiting.

    A thread cannot be ended from outside: the one of a call that was given up stays until the call returns, or until
    the process ends, which it does not hold up.
    """

    def __init__(self, most_left_behind: int = _MOST_LEFT_BEHIND) -> None:
        self._most = most_left_behind
        self._under_way = 0
        self._waited_for = 0

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises.

        Raises:
            NoAnswer: when too many calls that were given up have not returned.
        """
        left_behind = self._under_way - self._waited_for
        if left_behind >= self._most:
            raise NoAnswer(f"{left_behind} calls that were given up have not returned", retryable=True)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()
        self._under_way += 1
        self._waited_for += 1
        threading.Thread(target=self._work, args=(call, loop, ended), name="pi-generator", daemon=True).start()
        try:
            return await ended
        finally:
            self._waited_for -= 1

    def _work(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[Any]) -> None:
        try:
            value, error = call(), None
        except BaseException as raised:  # noqa: BLE001 - raised again where the call was made
            value, error = None, raised
        try:
            loop.call_soon_threadsafe(self._end, ended, value, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _end(self, ended: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if ended.done():
            return
        if error is None:
            ended.set_result(value)
        else:
            ended.set_exception(error if isinstance(error, Exception) else NoAnswer(f"the call ended in {error!r}"))
