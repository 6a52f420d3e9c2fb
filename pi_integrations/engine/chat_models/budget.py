"""What model calls cost: tokens as providers report them, dollars where prices are known, and a job's ceiling."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from pi_integrations.errors import PiUsageError
from pi_integrations.models import Usage

__all__ = ["Budget", "CeilingReached", "Prices", "Spending", "checked_prices"]

_MILLION = 1_000_000
# A low estimate of what a token takes: English has about 4 bytes a token.
_BYTES_A_TOKEN = 3
_FIRST_GUESS_WRITTEN = 200
_CAUTION = 1.25
# Of what is left beyond a call's expected cost, the part that its answer may take if it is longer than expected.
_SHARE = 0.25
_SLACK = 1e-9
_SUMS = ("calls", "calls_without_usage", "input_tokens", "output_tokens", "judge_usd")
_MAXIMA = ("max_call_usd", "max_score_usd")


class Prices(TypedDict):
    """US dollars per million tokens, each ≥ 0."""

    input_per_million: float
    output_per_million: float


def checked_prices(prices: Mapping[str, float] | None) -> Prices | None:
    """The prices as given.

    Raises:
        PiUsageError: when a price is missing, unknown, negative or not finite.
    """
    if prices is None:
        return None
    if set(prices) != set(Prices.__annotations__):
        raise PiUsageError(f"prices needs the keys {', '.join(Prices.__annotations__)}; it has {', '.join(prices)}")
    for name, price in prices.items():
        if not (math.isfinite(price) and price >= 0):
            raise PiUsageError(f"prices[{name!r}] is US dollars per million tokens, a number ≥ 0, not {price}")
    return Prices(input_per_million=prices["input_per_million"], output_per_million=prices["output_per_million"])


def _cost(prices: Prices | None, input_tokens: float, output_tokens: float) -> float:
    """US dollars for so many tokens; 0 without prices."""
    if prices is None:
        return 0.0
    return (input_tokens * prices["input_per_million"] + output_tokens * prices["output_per_million"]) / _MILLION


class CeilingReached(Exception):
    """The next call might cost more than the job may."""


class Spending:
    """Adds up the calls of one piece of work: a judge's answer, or a batch.

    A call whose tokens are unknown makes the sums unknown, not smaller.

    Attributes:
        calls: Requests sent.
        calls_without_usage: Those of them whose tokens the provider did not report.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        judge_usd: US dollars that judges report for scores.
        max_call_usd: US dollars of the most expensive call.
        max_score_usd: US dollars of the most expensive score.
        reserved: US dollars of a budget set aside for all of it.
        pending: US dollars that its calls under way may cost.
        calls_under_way: How many those are.
    """

    def __init__(self, prices: Prices | None = None, reserved: float = 0.0) -> None:
        self._prices = prices
        self.calls = self.calls_without_usage = self.input_tokens = self.output_tokens = 0
        self.judge_usd = self.max_call_usd = self.max_score_usd = 0.0
        self.reserved = reserved
        self.pending = 0.0
        self.calls_under_way = 0

    def add(self, tokens: Sequence[int] | None) -> None:
        """Counts a request: its tokens read and written, or None when the provider does not report them."""
        self.calls += 1
        if tokens is None:
            self.calls_without_usage += 1
            return
        self.input_tokens += tokens[0]
        self.output_tokens += tokens[1]
        self.max_call_usd = max(self.max_call_usd, _cost(self._prices, *tokens))

    def add_judge(self, usage: Mapping[str, Any] | None) -> None:
        """Counts what a judge reports for a score."""
        cost = (usage or {}).get("cost_usd") or 0.0
        self.judge_usd += cost
        self.max_score_usd = max(self.max_score_usd, cost)

    @property
    def cost(self) -> float:
        """US dollars so far; without prices what judges cost."""
        return self.judge_usd + _cost(self._prices, self.input_tokens, self.output_tokens)

    @property
    def expected(self) -> float:
        """The part of a budget, in US dollars, that this takes at least."""
        return max(self.reserved, self.cost + self.pending)

    def usage(self) -> Usage:
        """The sums so far; tokens and dollars where they are known."""
        if self.calls_without_usage:
            return Usage(calls=self.calls)
        cost = None if self._prices is None else self.cost
        return Usage(calls=self.calls, input_tokens=self.input_tokens, output_tokens=self.output_tokens, cost_usd=cost)


class Budget:
    """What the calls of a job cost, and whether the next may be made.

    The spending of settled batches is summed up and survives. That of open batches does not: their answers are
    recorded, and counted again when the job's next life takes the batch up.

    Args:
        prices: Of the model, where known.
        ceiling: US dollars that the job may cost; None for no limit.
        kept: What `kept` returned in an earlier life.
    """

    def __init__(self, prices: Prices | None, ceiling: float | None, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        self._prices = prices
        self._ceiling = ceiling
        self._open: list[Spending] = []
        self._settled = Spending(prices)
        for name in (*_SUMS, *_MAXIMA):
            setattr(self._settled, name, kept.get(name, 0))
        self._max_batch_usd: float | None = kept.get("max_batch_usd")
        self._freed = asyncio.Event()
        self._first_score = asyncio.Lock()

    def open(self, guess: float) -> Spending:
        """The spending of the next batch, with a quarter more set aside than the most expensive batch cost; before the
        first is settled, `guess` is.

        Raises:
            CeilingReached: when that might pass the ceiling.
        """
        spending = Spending(self._prices, guess if self._max_batch_usd is None else self._max_batch_usd * _CAUTION)
        taken = self._settled.cost + sum(other.expected for other in (*self._open, spending))
        if self._ceiling is not None and taken > self._ceiling + _SLACK:
            raise CeilingReached
        self._open.append(spending)
        return spending

    @asynccontextmanager
    async def asking(self, spending: Spending, size: int, *, limited: bool) -> AsyncIterator[int | None]:
        """While a call that reads `size` bytes is under way: the most tokens its answer may have.

        That is None without a ceiling, and where answers cannot be `limited`. What the call may cost at most is set
        aside; when too little is left for that, it waits for what calls under way leave over.

        Raises:
            CeilingReached: when it might pass the ceiling.
            PiUsageError: when there is a ceiling and the provider does not report tokens.
        """
        self._check_usage_known()
        needed = self._max("max_call_usd") * _CAUTION
        price = self._prices["output_per_million"] / _MILLION if self._prices else 0.0
        if self._ceiling is None or not (limited and price):
            async with self._set_aside(spending, needed or self.guess(size, 1)):
                yield None
            return
        async with self._set_aside(spending, max(needed, self.guess(size, 1)), _SHARE) as dollars:
            yield int((dollars - self.guess(size, 0)) / price)

    @asynccontextmanager
    async def scoring(self, spending: Spending) -> AsyncIterator[None]:
        """While a score is under way; until the cost of one is known, or that of a batch, one at a time.

        Raises:
            CeilingReached: when it might pass the ceiling.
        """
        if self._ceiling is None:
            yield
            return
        async with self._first_score:
            if not (self._max("max_score_usd") or self.knows_batch_cost):
                async with self._set_aside(spending, 0.0):
                    yield
                return
        async with self._set_aside(spending, self._max("max_score_usd") * _CAUTION):
            yield

    @asynccontextmanager
    async def _set_aside(self, spending: Spending, needed: float, share: float = 0.0) -> AsyncIterator[float]:
        """While a call is under way: the US dollars set aside for it, `needed` and this share of what is left."""
        while self._ceiling is not None and ((room := self._room(spending)) < needed - _SLACK or room <= 0):
            if not any(other.calls_under_way for other in self._open):
                raise CeilingReached
            await self._freed.wait()
        dollars = needed if self._ceiling is None else needed + share * max(self._room(spending) - needed, 0.0)
        spending.pending += dollars
        spending.calls_under_way += 1
        try:
            yield dollars
        finally:
            spending.pending -= dollars
            spending.calls_under_way -= 1
            self._freed.set()
            self._freed = asyncio.Event()

    def _room(self, spending: Spending) -> float:
        """US dollars that the next call of this batch may cost at most."""
        others = sum(other.expected for other in self._open if other is not spending)
        return (self._ceiling or 0.0) - self._settled.cost - others - spending.cost - spending.pending

    def _max(self, name: str) -> float:
        return max(float(getattr(spending, name)) for spending in (self._settled, *self._open))

    def _check_usage_known(self) -> None:
        if self._ceiling is not None and any(s.calls_without_usage for s in (self._settled, *self._open)):
            raise PiUsageError(
                "max_cost_usd cannot be kept: the generator's provider does not say how many tokens it counted. Leave "
                "max_cost_usd out, or use a model that reports its usage."
            )

    def settle(self, spending: Spending, *, batch: bool = True) -> None:
        """Adds an open spending to the sums; one that is no batch's shows nothing about the cost of batches."""
        self._open.remove(spending)
        for name in _SUMS:
            setattr(self._settled, name, getattr(self._settled, name) + getattr(spending, name))
        if batch:
            for name in _MAXIMA:
                setattr(self._settled, name, max(getattr(self._settled, name), getattr(spending, name)))
            self._max_batch_usd = max(self._max_batch_usd or 0.0, spending.cost)

    def guess(self, size: int, calls: int) -> float:
        """US dollars of `calls` calls that read `size` bytes in all, before anything is known about the answers."""
        return _cost(self._prices, size // _BYTES_A_TOKEN, calls * _FIRST_GUESS_WRITTEN)

    @property
    def knows_batch_cost(self) -> bool:
        """Whether the cost of a batch is known."""
        return self._max_batch_usd is not None

    def kept(self) -> dict[str, Any]:
        """What the job's next life needs, as JSON values."""
        return {name: getattr(self._settled, name) for name in (*_SUMS, *_MAXIMA)} | {
            "max_batch_usd": self._max_batch_usd
        }

    def figures(self) -> dict[str, Any]:
        """Tokens and dollars so far, those of open batches included; None where unknown."""
        all_ = (self._settled, *self._open)
        known = any(spending.calls for spending in all_) and not any(s.calls_without_usage for s in all_)
        return {
            "input_tokens": sum(spending.input_tokens for spending in all_) if known else None,
            "output_tokens": sum(spending.output_tokens for spending in all_) if known else None,
            "cost_usd": round(sum(s.cost for s in all_), 6) if known and self._prices else None,
        }
