"""What a job's model calls cost, and whether the next may be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pi_integrations.engine.chat_models.prices import Prices, cost_usd
from pi_integrations.engine.jobs.family import JobStopped

__all__ = ["Bill", "CeilingReached", "Ledger"]

_CHARACTERS_A_TOKEN = 3
_WRITTEN_AT_FIRST = 200
_CAUTION = 1.25
_SLACK = 1e-9
_SUMS = ("calls", "untold", "read", "written", "judged")


class CeilingReached(Exception):
    """The next call might cost more than the job may."""


class Bill:
    """What one batch costs.

    Attributes:
        reserved: US dollars set aside for all of it.
        pending: US dollars that its calls under way are expected to cost.
        calls: Answers counted.
        untold: Those of them whose tokens are unknown.
        read: Tokens read.
        written: Tokens written.
        judged: US dollars that judges say their scores cost.
        dearest: US dollars of the dearest call.
    """

    def __init__(self, prices: Prices | None, reserved: float = 0.0) -> None:
        self._prices = prices
        self.reserved = reserved
        self.pending = 0.0
        self.calls = self.untold = self.read = self.written = 0
        self.judged = self.dearest = 0.0

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
        self.judged += (usage or {}).get("cost_usd") or 0.0

    @property
    def cost(self) -> float:
        """US dollars so far; without prices what judges cost."""
        return self.judged + (cost_usd(self._prices, self.read, self.written) if self._prices else 0.0)

    @property
    def expected(self) -> float:
        """US dollars that it takes at least of what the job may cost."""
        return max(self.reserved, self.cost + self.pending)


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
        self._dearest_batch: float | None = kept.get("dearest_batch")
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

    @contextmanager
    def allowed(self, bill: Bill, characters: int) -> Iterator[None]:
        """While a call that reads `characters` is under way on an open bill.

        Raises:
            CeilingReached: when it might pass the ceiling.
            JobStopped: when a ceiling was given and the provider does not say how many tokens it counts.
        """
        if self._ceiling is not None and (self._settled.untold or any(bill.untold for bill in self._open)):
            raise JobStopped(
                "max_cost_usd cannot be kept: the generator's provider does not say how many tokens it counted. Leave "
                "max_cost_usd out, or use a model that reports its usage."
            )
        expected = self._settled.dearest * _CAUTION or self.guess(characters, 1)
        bill.pending += expected
        try:
            if self._over():
                raise CeilingReached
            yield
        finally:
            bill.pending -= expected

    def settle(self, bill: Bill, *, batch: bool = True) -> None:
        """Closes a bill and adds it to the sums; one that is no batch's says nothing about the cost of batches."""
        self._open.remove(bill)
        for name in _SUMS:
            setattr(self._settled, name, getattr(self._settled, name) + getattr(bill, name))
        if batch:
            self._settled.dearest = max(self._settled.dearest, bill.dearest)
            self._dearest_batch = max(self._dearest_batch or 0.0, bill.cost)

    def guess(self, characters: int, calls: int) -> float:
        """US dollars of `calls` calls that read `characters` in all, before anything is known about the answers."""
        if self._prices is None:
            return 0.0
        return cost_usd(self._prices, characters // _CHARACTERS_A_TOKEN, calls * _WRITTEN_AT_FIRST)

    @property
    def experienced(self) -> bool:
        """Whether the cost of a batch is known."""
        return self._dearest_batch is not None

    def kept(self) -> dict[str, Any]:
        """What the next life needs."""
        sums = {name: getattr(self._settled, name) for name in _SUMS}
        return {"dearest_batch": self._dearest_batch, "dearest_call": self._settled.dearest, **sums}

    def figures(self) -> dict[str, Any]:
        """Tokens and dollars of the batches dealt with; None where unknown."""
        told = self._settled.calls > 0 and not self._settled.untold
        return {
            "input_tokens": self._settled.read if told else None,
            "output_tokens": self._settled.written if told else None,
            "cost_usd": round(self._settled.cost, 6) if told and self._prices else None,
        }

    def _over(self) -> bool:
        if self._ceiling is None:
            return False
        return self._settled.cost + sum(bill.expected for bill in self._open) > self._ceiling + _SLACK
