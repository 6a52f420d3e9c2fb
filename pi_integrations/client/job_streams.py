"""The items or messages of a job, decoded as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, Self, TypeVar

from pydantic import ValidationError

from pi_integrations.client.followed_lines import FollowedLines
from pi_integrations.errors import PiError, PiResponseError, PiUsageError
from pi_integrations.models import describe, render

__all__ = ["JobStream"]

T = TypeVar("T")


class JobStream(Generic[T]):
    """An async iterator over the items or messages of a job, as they arrive; see `Job.data`.

    Dropping it closes its connection, and `aclose` does so at once. A wait for an item may be cancelled, by
    `asyncio.wait_for` for instance, and begun again: nothing is lost.

    Args:
        lines: The stream's lines.
        decode: Makes an item of a line.
        keep_blank: Whether an empty line is an item.

    Example:
        ```python
        async def first(job: Job[SyntheticDataStatus, InputResponsePair]) -> InputResponsePair | None:
            async for pair in job.data():
                return pair
            return None
        ```
    """

    def __init__(self, lines: FollowedLines, decode: Callable[[bytes], T], *, keep_blank: bool) -> None:
        self._lines = lines
        self._decode = decode
        self._keep_blank = keep_blank
        self._arrived: Iterator[T] = iter(())
        self._reading = False
        self._over = False
        self._unreadable: PiResponseError | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._arrived:
            return item
        self._arrived = iter(await self._batch())
        return next(self._arrived)

    async def batches(self) -> AsyncGenerator[list[T], None]:
        """The rest of the stream, as lists of items that arrived together."""
        try:
            while True:
                yield await self._batch()
        except StopAsyncIteration:
            return
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Ends the stream, and closes its connection."""
        self._check_idle()
        self._arrived = iter(())
        self._over = True
        await self._lines.aclose()

    async def _batch(self) -> list[T]:
        self._check_idle()
        if self._over:
            raise StopAsyncIteration
        self._reading = True
        try:
            return await self._next_items()
        except asyncio.CancelledError:
            # What was on its way is lost with the wait for it; the next step requests it again.
            self._lines.drop()
            raise
        except (StopAsyncIteration, PiError):
            self._over = True
            await self._lines.aclose()
            raise
        finally:
            self._reading = False

    async def _next_items(self) -> list[T]:
        while self._unreadable is None and (lines := await self._lines.next()) is not None:
            if items := self._decoded(lines):
                return items
        raise self._unreadable or StopAsyncIteration

    def _decoded(self, lines: list[bytes]) -> list[T]:
        """The items of `lines` before the first unreadable one, whose error is raised by the next step."""
        items: list[T] = []
        for number, line in enumerate(lines, self._lines.position - len(lines) + 1):
            try:
                if line or self._keep_blank:
                    items.append(self._item(line, number))
            except PiResponseError as error:
                self._unreadable = error
                break
        return items

    def _item(self, line: bytes, number: int) -> T:
        try:
            return self._decode(line)
        except ValidationError as error:
            problems = render(describe(error))
        except UnicodeDecodeError as error:
            problems = f"it is not UTF-8: {error.reason} at byte {error.start}"
        raise PiResponseError(
            f"GET {self._lines.path} sent line {number} that cannot be read: {problems}. Check that base_url points at"
            f" a Pi API; to read on behind this line, use start={number}."
        )

    def _check_idle(self) -> None:
        if self._reading:
            raise PiUsageError("this stream is being read already; call data() or messages() once for each reader")
