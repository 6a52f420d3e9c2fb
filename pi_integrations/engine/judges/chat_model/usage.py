"""What the calls to a judge model cost: tokens as the model reports them, dollars when prices are known."""

from __future__ import annotations

from langchain_core.messages import AIMessage

from pi_integrations.engine.chat_models.prices import Prices, cost_usd
from pi_integrations.models import Usage

__all__ = ["Bill"]


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
        return None if self._prices is None else cost_usd(self._prices, read, written)
