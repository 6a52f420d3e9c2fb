"""Streamed answers while the user reads them: how far they were read, and what becomes of them then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse

from pi_integrations.llama_index.chat_tee import tee_chat
from pi_integrations.llama_index.nesting import OpenAnswer
from pi_integrations.llama_index.outcomes import Streamed
from pi_integrations.llama_index.tee import Reading, Text, atee, tee

if TYPE_CHECKING:
    from pi_integrations.llama_index.answers import AnswerWatch

__all__ = ["AnswerReading", "tee_answer"]


class AnswerReading:
    """How far the user read the stream of an answer; one that was left counts as incomplete until somebody reads on."""

    def __init__(self, watch: AnswerWatch, answer: OpenAnswer, contexts: list[str]) -> None:
        self.owner = answer.owner
        self.is_left = False
        self._watch = watch
        self._answer = answer
        self._contexts = contexts
        self._process = os.getpid()

    def leave(self) -> None:
        """See `Reading`."""
        if not self.is_left and self._is_ours():
            self.is_left = True
            self._watch.left(1)

    def go_on(self) -> None:
        """See `Reading`."""
        if self.is_left and self._is_ours():
            self.is_left = False
            self._watch.left(-1)

    def finish(self, text: Text) -> None:
        """See `Reading`."""
        self._answer.finished = True
        self.go_on()
        if self._is_ours():
            self._watch.read(self._answer, text, self._contexts)

    def _is_ours(self) -> bool:
        """A forked child did not begin the answer, and the parent reads it too."""
        return os.getpid() == self._process


def tee_answer(stream: Streamed, reading: Reading) -> None:
    """Makes `stream` tell `reading` how far it is read."""
    if isinstance(stream, StreamingResponse):
        stream.response_gen = tee(stream.response_gen, reading)
    elif isinstance(stream, AsyncStreamingResponse):
        stream.response_gen = atee(stream.response_gen, reading)
    else:
        tee_chat(stream, reading)
