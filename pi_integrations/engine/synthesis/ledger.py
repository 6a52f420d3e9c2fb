"""What a job's model calls cost, and whether the next may be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Literal

from pi_integrations.engine.chat_models.prices import Prices, cost_usd
from pi_integrations.engine.jobs.family import JobStopped

__all__ = ["Bill", "CeilingReached", "Ledger"]

_BYTES_A_TOKEN = 3
_WRITTEN_AT_FIRST = 200
_CAUTION = 1.25
# Of what is left beyond a call's expected cost, the part that its answer may take if it is longer than expected.
_SHARE = 0.25
_SLACK = 1e-9
_SUMS = ("calls", "untold", "read", "written", "judged")


class CeilingReached(Exception):
    """The next call might cost more than the job may."""


class Bill:
    """What one batch costs.

    Attributes:
        reserved: US dollars set aside for all of it.
        pending: US dollars that its calls under way may cost.
        under_way: How many those are.
        calls: Answers counted.
        untold: Those of them whose tokens are unknown.
        read: Tokens read.
        written: Tokens written.
        judged: US dollars that judges say their scores cost.
        dearest: US dollars of the dearest call.
        dearest_score: US dollars of the dearest score.
    """

    def __init__(self, prices: Prices | None, reserved: float = 0.0) -> None:
        self._prices = prices
        self.reserved = reserved
        self.pending = 0.0
        self.under_way = 0
        self.calls = self.untold = self.read = self.written = 0
        self.judged = self.dearest = self.dearest_score = 0.0

    def add(self, tokens: Any) -> None:
        """Counts an answer: [tokens read, tokens written], or None when the provider does not say."""
        self.calls += 1
        if tokens is None:
            self.untold += 1
            return
        self.read += tokens[0]
        self.written += tokens[1]
        if self._prices is not None:
            self.dearest = max(self.dearest, cost_usd(self._prices, *tokens))

    def add_judge(self, usage: Mapping[str, Any] | None) -> None:
        """Counts what a judge says its score cost."""
        cost = (usage or {}).get("cost_usd") or 0.0
        self.judged += cost
        self.dearest_score = max(self.dearest_score, cost)

    @property
    def cost(self) -> float:
        """US dollars so far; without prices what judges cost."""
        return self.judged + (cost_usd(self._prices, self.read, self.written) if self._prices else 0.0)

    @property
    def expected(self) -> float:
        """US dollars that it takes at least of what the job may cost."""
        return max(self.reserved, self.cost + self.pending)


class _SetAside(AbstractContextManager[float]):
    """Dollars on a bill, given back at the end of the block."""

    def __init__(self, ledger: Ledger, bill: Bill, dollars: float) -> None:
        self._ledger = ledger
        self._bill = bill
        self._dollars = dollars
        bill.pending += dollars
        bill.under_way += 1

    def __enter__(self) -> float:
        return self._dollars

    def __exit__(self, *_: object) -> None:
        self._bill.pending -= self._dollars
        self._bill.under_way -= 1
        self._ledger.free()


class Ledger:
    """The bills of a job.

    Bills of batches that are dealt with are summed up and survive; those of batches under way are open: their answers
    are recorded, and counted again when the batch is taken up in the job's next life.
    """

    def __init__(self, prices: Prices | None, ceiling: float | None, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        self._prices = prices
        self._ceiling = ceiling
        self._open: list[Bill] = []
        self._settled = Bill(prices)
        self._settled.dearest = kept.get("dearest_call", 0.0)
        self._settled.dearest_score = kept.get("dearest_score", 0.0)
        self._dearest_batch: float | None = kept.get("dearest_batch")
        self._freed = asyncio.Event()
        self._first_score = asyncio.Lock()
        for name in _SUMS:
            setattr(self._settled, name, kept.get(name, 0))

    def open(self, guess: float) -> Bill:
        """A bill for the next batch: a quarter more than the dearest so far is set aside for it, before that `guess`.

        Raises:
            CeilingReached: when that might pass the ceiling.
        """
        bill = Bill(self._prices, guess if self._dearest_batch is None else self._dearest_batch * _CAUTION)
        self._open.append(bill)
        if self._over():
            self._open.remove(bill)
            raise CeilingReached
        return bill

    @asynccontextmanager
    async def asking(self, bill: Bill, size: int, *, limited: bool) -> AsyncIterator[int | None]:
        """While a call that reads `size` bytes is under way on an open bill: the most tokens its answer may have.

        That is None without a ceiling, and where answers cannot be `limited`. What the call may cost at most is set
        aside; when too little is left for that, it waits for what calls under way leave over.

        Raises:
            CeilingReached: when it might pass the ceiling.
            JobStopped: when a ceiling was given and the provider does not say how many tokens it counts.
        """
        self._check_told()
        price = self._prices["output_per_million"] / 1e6 if self._prices else 0.0
        if self._ceiling is None or not (limited and price):
            with await self._set_aside(bill, self._dearest("dearest") * _CAUTION or self.guess(size, 1)):
                yield None
            return
        needed = max(self._dearest("dearest") * _CAUTION, self.guess(size, 1))
        with await self._set_aside(bill, needed, _SHARE) as dollars:
            yield int((dollars - self.guess(size, 0)) / price)

    @asynccontextmanager
    async def scoring(self, bill: Bill) -> AsyncIterator[None]:
        """While a score is under way; until the cost of one is known, or that of a batch, one at a time.

        Raises:
            CeilingReached: when it might pass the ceiling.
        """
        if self._ceiling is None:
            yield
            return
        async with self._first_score:
            if not (self._dearest("dearest_score") or self.experienced):
                with await self._set_aside(bill, 0.0):
                    yield
                return
        with await self._set_aside(bill, self._dearest("dearest_score") * _CAUTION):
            yield

    async def _set_aside(self, bill: Bill, needed: float, share: float = 0.0) -> _SetAside:
        """Sets aside `needed` dollars, and this share of what is left beyond them."""
        if self._ceiling is None:
            return _SetAside(self, bill, needed)
        while (room := self._room(bill)) < needed - _SLACK or room <= 0:
            if not any(other.under_way for other in self._open):
                raise CeilingReached
            await self._freed.wait()
        return _SetAside(self, bill, needed + share * max(room - needed, 0.0))

    def _room(self, bill: Bill) -> float:
        """US dollars that a call on this bill may take at most."""
        others = sum(other.expected for other in self._open if other is not bill)
        return (self._ceiling or 0.0) - self._settled.cost - others - bill.cost - bill.pending

    def free(self) -> None:
        """Wakes the calls that wait for money."""
        self._freed.set()
        self._freed = asyncio.Event()

    def _dearest(self, name: Literal["dearest", "dearest_score"]) -> float:
        return max(float(getattr(bill, name)) for bill in (self._settled, *self._open))

    def _check_told(self) -> None:
        if self._ceiling is not None and (self._settled.untold or any(bill.untold for bill in self._open)):
            raise JobStopped(
                "max_cost_usd cannot be kept: the generator's provider does not say how many tokens it counted. Leave "
                "max_cost_usd out, or use a model that reports its usage."
            )

    def settle(self, bill: Bill, *, batch: bool = True) -> None:
        """Closes a bill and adds it to the sums; one that is no batch's says nothing about the cost of batches."""
        self._open.remove(bill)
        for name in _SUMS:
            setattr(self._settled, name, getattr(self._settled, name) + getattr(bill, name))
        if batch:
            self._settled.dearest = max(self._settled.dearest, bill.dearest)
            self._settled.dearest_score = max(self._settled.dearest_score, bill.dearest_score)
            self._dearest_batch = max(self._dearest_batch or 0.0, bill.cost)

    def guess(self, size: int, calls: int) -> float:
        """US dollars of `calls` calls that read `size` bytes in all, before anything is known about the answers."""
        if self._prices is None:
            return 0.0
        return cost_usd(self._prices, size // _BYTES_A_TOKEN, calls * _WRITTEN_AT_FIRST)

    @property
    def experienced(self) -> bool:
        """Whether the cost of a batch is known."""
        return self._dearest_batch is not None

    def kept(self) -> dict[str, Any]:
        """What the next life needs."""
        sums = {name: getattr(self._settled, name) for name in _SUMS}
        dearest = {"dearest_call": self._settled.dearest, "dearest_score": self._settled.dearest_score}
        return {"dearest_batch": self._dearest_batch, **dearest, **sums}

    def figures(self) -> dict[str, Any]:
        """Tokens and dollars so far, those of batches under way included; None where unknown."""
        bills = (self._settled, *self._open)
        told = any(bill.calls for bill in bills) and not any(bill.untold for bill in bills)
        return {
            "input_tokens": sum(bill.read for bill in bills) if told else None,
            "output_tokens": sum(bill.written for bill in bills) if told else None,
            "cost_usd": round(sum(bill.cost for bill in bills), 6) if told and self._prices else None,
        }

    def _over(self) -> bool:
        if self._ceiling is None:
            return False
        return self._settled.cost + sum(bill.expected for bill in self._open) > self._ceiling + _SLACK
