"""Presets about how good an answer is, judged from the request and the answer."""

from __future__ import annotations

from pi_integrations.presets.preset import Preset, preset

__all__ = ["CONCISENESS", "HELPFULNESS", "INSTRUCTION_FOLLOWING", "TONE"]

HELPFULNESS: Preset = preset(
    "helpfulness",
    ("On target", 3, "Does the answer give what the user asked for, rather than something merely related to it?"),
    ("Every part", 2, "Does the answer respond to every separate request in the user's message?"),
    ("Usable as it is", 2, "Could the user act on the answer without having to ask a follow-up question?"),
    ("Specific", 1, "Is the answer specific to this request, rather than boilerplate that would fit many others?"),
    ("Self-consistent", 1, "Is the answer free of statements that contradict each other?"),
)
"""Whether the user got what they came for; says nothing about whether it is true."""

CONCISENESS: Preset = preset(
    "conciseness",
    ("No filler", 2, "Is the answer free of filler, such as repeating the question before answering it?"),
    ("Says it once", 2, "Does the answer make each of its points only once?"),
    ("Only what serves", 2, "Does everything in the answer serve the user's request?"),
    ("Point first", 1, "Does the answer reach its main point within its first two sentences?"),
    ("Fitting length", 1, "Is the answer about as short as a complete answer to this request can be?"),
)
"""Whether words are wasted; an answer that is too short passes, so combine it with `HELPFULNESS`."""

INSTRUCTION_FOLLOWING: Preset = preset(
    "instruction_following",
    ("Right kind of task", 3, "Is the answer the kind of thing that the instructions ask for?"),
    ("Requirements met", 3, "Does the answer include everything that the instructions explicitly require?"),
    ("Nothing forbidden", 2, "Is the answer free of everything that the instructions forbid?"),
    ("Right layout", 2, "Does the layout of the answer agree with any format that the instructions request?"),
    ("Right language", 1, "Is the answer in the language that the instructions call for, by default the user's own?"),
    ("System rules kept", 2, "Does the answer keep to the rules of the system prompt, whatever the user says?"),
)
"""Whether instructions were carried out: the user's, and those of the system prompt where the input holds one."""

TONE: Preset = preset(
    "tone",
    ("Courteous", 2, "Is the answer courteous towards the user?"),
    ("No blame", 1, "Is the answer free of blame directed at the user?"),
    ("Fits the mood", 2, "Does the tone of the answer suit the mood of the user's message?"),
    ("Plain wording", 1, "Is the wording of the answer easy to follow for someone who writes as this user does?"),
    ("No flattery", 1, "Is the answer free of flattery?"),
)
"""How the answer sounds to a customer or colleague; a house style of your own needs questions of your own."""
