"""What tokens cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypedDict

from pi_integrations.errors import PiUsageError

__all__ = ["Prices", "checked_prices", "cost_usd"]

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


def cost_usd(prices: Prices, read: int, written: int) -> float:
    """US dollars for `read` and `written` tokens."""
    return (read * prices["input_per_million"] + written * prices["output_per_million"]) / _MILLION
