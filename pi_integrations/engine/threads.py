"""Worker threads of the engine, ended without holding up its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["run_last", "shut_down"]


def run_last(executor: ThreadPoolExecutor, work: Callable[[], object]) -> None:
    """Runs `work` on `executor`; in the calling thread when the interpreter is exiting and executors refuse work."""
    try:
        executor.submit(work)
    except RuntimeError:
        work()


async def shut_down(executor: ThreadPoolExecutor) -> None:
    """Waits for the executor's threads to end, whether or not the interpreter is exiting."""
    try:
        await asyncio.get_running_loop().run_in_executor(None, executor.shutdown)
    except RuntimeError:
        executor.shutdown()
