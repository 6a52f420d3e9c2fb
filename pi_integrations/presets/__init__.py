"""Ready-made specs for common qualities of an answer, and `combine`, which joins several into one.

Each preset is a tuple of `Question`s: it can be used wherever a spec can, sliced and added to, but not changed. Every
question can be answered from the exchange alone, and yes is the good answer. The page about presets in the
documentation lists what each question catches and misses.

Example:
    >>> from pi_integrations.presets import HELPFULNESS, TONE, combine
    >>> [question.label for question in TONE]
    ['Courteous', 'No blame', 'Fits the mood', 'Plain wording', 'No flattery']
    >>> len(combine(HELPFULNESS, TONE, weights=(3, 1)))
    10
"""

from __future__ import annotations

from pi_integrations.presets.combine import combine
from pi_integrations.presets.specs import (
    AGENT_TRAJECTORY,
    CONCISENESS,
    GROUNDEDNESS,
    HELPFULNESS,
    INSTRUCTION_FOLLOWING,
    REFUSAL,
    SAFETY,
    TONE,
)

__all__ = [
    "AGENT_TRAJECTORY",
    "CONCISENESS",
    "GROUNDEDNESS",
    "HELPFULNESS",
    "INSTRUCTION_FOLLOWING",
    "REFUSAL",
    "SAFETY",
    "TONE",
    "combine",
]
