"""MinHash signatures in columns, all compared with a new one in a single pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import rensa

from pi_integrations.engine.synthesis.shingles import Hashes

__all__ = ["SLOTS", "Signature", "Signatures", "signature_of"]

SLOTS = 128
"""Values in a signature; the estimate's standard deviation is at most √(J (1 − J) / 128), 0.04 at J = 0.7."""

Signature = npt.NDArray[np.uint8]
"""`SLOTS` bytes."""

_SEED = 1


def signature_of(hashes: Hashes) -> Signature:
    """The signature of a set of shingle hashes; the same set has the same one in every process."""
    minhash = rensa.RMinHash(SLOTS, _SEED)
    minhash.update(_tokens(hashes))
    # The lowest byte of each value is enough: two that differ share it once in 256 times.
    return np.array(minhash.digest(), dtype=np.uint32).astype(np.uint8)


def _tokens(hashes: Hashes) -> list[bytes]:
    data = hashes.astype("<u4").tobytes()
    return [data[start : start + 4] for start in range(0, len(data), 4)]


class Signatures:
    """Signatures added so far. Adding is amortised constant time; 128 to 256 bytes for each."""

    def __init__(self) -> None:
        self._columns = np.zeros((SLOTS, 1024), dtype=np.uint8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, signature: Signature) -> None:
        """Adds a signature."""
        if self._count == self._columns.shape[1]:
            self._columns = np.concatenate([self._columns, np.zeros_like(self._columns)], axis=1)
        self._columns[:, self._count] = signature
        self._count += 1

    def agreeing(self, signature: Signature) -> Signature:
        """For each signature added, in how many of the `SLOTS` values it agrees with `signature`."""
        agreeing = np.zeros(self._count, dtype=np.uint8)
        for column, value in zip(self._columns, signature, strict=True):
            agreeing += column[: self._count] == value
        return agreeing
