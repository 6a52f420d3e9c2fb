"""What the calls to a judge model cost: tokens as the model reports them, dollars when prices are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypedDict

from langchain_core.messages import AIMessage

from pi_integrations.errors import PiUsageError
from pi_integrations.models import Usage

__all__ = ["Bill", "Prices", "checked_prices"]

_MILLION = 1_000_000


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


class Bill:
    """Adds up the calls behind one answer. A call whose tokens are unknown makes the sums unknown, not smaller."""

    def __init__(self, prices: Prices | None) -> None:
        self._prices = prices
        self._calls = 0
        self._counted: list[tuple[int, int]] = []

    def call(self) -> None:
        """Counts a request sent."""
        self._calls += 1

    def answered(self, message: AIMessage) -> None:
        """Counts the tokens of an answer, when it says."""
        if tokens := message.usage_metadata:
            self._counted.append((tokens["input_tokens"], tokens["output_tokens"]))

    def turned_down(self) -> None:
        """Counts no tokens for a request that the provider turned down and is asked again otherwise."""
        self._counted.append((0, 0))

    def usage(self) -> Usage:
        """The sums so far."""
        if len(self._counted) < self._calls:
            return Usage(calls=self._calls)
        read = sum(tokens for tokens, _ in self._counted)
        written = sum(tokens for _, tokens in self._counted)
        return Usage(calls=self._calls, input_tokens=read, output_tokens=written, cost_usd=self._cost(read, written))

    def _cost(self, read: int, written: int) -> float | None:
        if self._prices is None:
            return None
        dollars = read * self._prices["input_per_million"] + written * self._prices["output_per_million"]
        return dollars / _MILLION
