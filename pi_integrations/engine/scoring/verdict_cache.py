"""Verdicts kept by judge fingerprint, question and exchange, so that the same question is not asked twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from pi_integrations.engine.judges import Exchange, Method, Verdict

__all__ = ["VerdictCache"]


class VerdictCache:
    """The last `max_entries` scored verdicts, in memory; 0 keeps none. Unscored verdicts are never kept."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        # Plain tuples, which the garbage collector stops tracking: ten thousand tracked verdicts, coming and going,
        # caused full collections of 50 ms.
        self._entries: OrderedDict[bytes, tuple[float, Method, str | None]] = OrderedDict()

    def keys(self, fingerprint: str, exchange: Exchange, questions: list[str]) -> list[bytes]:
        """A key per question; none when nothing is kept."""
        if not self._max_entries:
            return []
        shared = hashlib.blake2b(digest_size=16)
        for text in (fingerprint, exchange.llm_input, exchange.llm_output):
            data = text.encode("utf-8", "surrogatepass")
            shared.update(len(data).to_bytes(8, "big"))
            shared.update(data)
        keys = []
        for question in questions:
            digest = shared.copy()
            digest.update(question.encode("utf-8", "surrogatepass"))
            keys.append(digest.digest())
        return keys

    def get(self, key: bytes) -> Verdict | None:
        """The verdict kept under `key`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        score, method, explanation = entry
        return Verdict(score, method=method, explanation=explanation)

    def set(self, key: bytes, verdict: Verdict) -> None:
        """Keeps a scored verdict, and drops the one used longest ago when full."""
        if verdict.score is None:
            return
        self._entries[key] = (verdict.score, verdict.method, verdict.explanation)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
