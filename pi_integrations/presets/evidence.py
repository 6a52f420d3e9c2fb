"""Presets that compare an answer with what it was made from: retrieved passages, or results of tools."""

from __future__ import annotations

from pi_integrations.presets.preset import Preset, preset

__all__ = ["AGENT_TRAJECTORY", "GROUNDEDNESS"]

GROUNDEDNESS: Preset = preset(
    "groundedness",
    ("Claims supported", 3, "Can every factual claim in the answer be confirmed from the context alone?"),
    ("No contradiction", 2, "Is the answer free of claims that the context contradicts?"),
    ("Details match", 2, "Is the answer free of specifics, such as numbers, dates, names, that the context lacks?"),
    ("Certainty kept", 1, "Does the answer express no more certainty than the context does?"),
    ("Context used", 1, "Does the answer draw on the passages of the context that bear on the user's question?"),
)
"""Whether an answer stays with the retrieved passages; needs them in the input, under the heading Context."""

AGENT_TRAJECTORY: Preset = preset(
    "agent_trajectory",
    ("Task done", 3, "Does the final answer accomplish the task that the user gave?"),
    (
        "Actions confirmed",
        3,
        "Is every action that the answer claims was taken confirmed by a tool result?",
    ),
    ("Results kept", 3, "Does the answer pass on what the tool results say without changing it?"),
    ("Failures told", 2, "Is the answer open about every tool failure in the context that affects the task?"),
    ("Enough lookups", 2, "Do the tool results in the context cover every lookup that the task needs?"),
    ("No wasted calls", 1, "Does each tool result in the context contribute something new to the task?"),
)
"""Whether an agent did what it says it did; needs the results of its tools in the input, under the heading Context."""
