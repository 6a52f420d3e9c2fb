"""Ready specs: yes/no questions for what people often want to know about an answer.

Each preset is a tuple of `Question`s: it goes wherever a spec goes, can be sliced and added to, and is never changed by
accident. Every question can be answered from the exchange alone, and yes is the good answer. What each catches and what
it misses is in the documentation, on the page about presets.

Example:
    >>> from pi_integrations.presets import HELPFULNESS, TONE, combine
    >>> [question.label for question in TONE]
    ['Courteous', 'No blame', 'Fits the mood', 'Plain wording', 'No flattery']
    >>> len(combine(HELPFULNESS, TONE, weights=(3, 1)))
    10
"""

from __future__ import annotations

from pi_integrations.presets.answers import CONCISENESS, HELPFULNESS, INSTRUCTION_FOLLOWING, TONE
from pi_integrations.presets.combine import combine
from pi_integrations.presets.conduct import REFUSAL, SAFETY
from pi_integrations.presets.evidence import AGENT_TRAJECTORY, GROUNDEDNESS

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
