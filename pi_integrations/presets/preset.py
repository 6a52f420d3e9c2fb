"""What a preset is made of."""

from __future__ import annotations

from typing import TypeAlias

from pi_integrations.models import Question

__all__ = ["Preset", "preset"]

Preset: TypeAlias = tuple[Question, ...]
"""A flat spec that cannot be changed."""


def preset(tag: str, *rows: tuple[str, float, str]) -> Preset:
    """Questions from `(label, weight, question)` rows, all with this `tag`."""
    return tuple(Question(label=label, weight=weight, question=text, tag=tag) for label, weight, text in rows)
