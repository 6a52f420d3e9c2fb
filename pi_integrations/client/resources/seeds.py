"""The seeds of a generation, as a caller has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.models import InputResponsePair

__all__ = ["PairLike", "pair_fields"]

PairLike = InputResponsePair | Mapping[str, Any] | tuple[str, str]
_FIELDS = ("llm_input", "llm_output")


def pair_fields(seeds: Iterable[PairLike]) -> list[dict[str, Any]]:
    """The two fields of each seed, unchecked; whatever else a seed holds is left out.

    Raises:
        PiUsageError: naming the first that is no pair, by its index.
    """
    if isinstance(seeds, str | Mapping) or not isinstance(seeds, Iterable):
        raise PiUsageError(f"seeds is a {type(seeds).__name__}; give a list of pairs, which may be empty")
    return [_fields(index, seed) for index, seed in enumerate(seeds)]


def _fields(index: int, seed: Any) -> dict[str, Any]:
    if isinstance(seed, InputResponsePair):
        return {name: getattr(seed, name) for name in _FIELDS}
    if isinstance(seed, Mapping):
        return {name: seed[name] for name in _FIELDS if name in seed}
    if isinstance(seed, tuple | list) and len(seed) == len(_FIELDS):
        return dict(zip(_FIELDS, seed, strict=True))
    raise PiUsageError(
        f"seeds[{index}] is a {type(seed).__name__}; give an InputResponsePair, a mapping with llm_input and"
        " llm_output, or a tuple of the two"
    )
