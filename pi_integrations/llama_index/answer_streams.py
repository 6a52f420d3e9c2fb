"""Streamed answers while the user reads them: how far they were read, and how they are then submitted or counted."""

from __future__ import annotations

import os
import threading
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
    """How far the user read an answer's stream; an abandoned one counts as incomplete until reading continues.

    A forked child has a copy, which reports nothing: the answer started in the parent, which reads it too.
    """

    def __init__(self, watch: AnswerWatch, answer: OpenAnswer, contexts: list[str]) -> None:
        # Not `answer` itself: the user's own context may hold it, and queries made there are not part of the answer.
        self.inside = OpenAnswer(None, None, owner=answer.owner)
        self.is_left = False
        self._is_over = False
        # Reentrant: a garbage collection in here may drop another reader.
        self._lock = threading.RLock()
        self._watch = watch
        self._answer = answer
        self._contexts = contexts
        self._process = os.getpid()

    def leave(self) -> None:
        """See `Reading`."""
        self._set_left(True)

    def go_on(self) -> None:
        """See `Reading`."""
        self._set_left(False)

    def finish(self, text: Text) -> None:
        """See `Reading`."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._set_left(False)
            is_first, self._is_over = not self._is_over, True
            self.inside.finished = True
        if is_first:
            self._watch.read(self._answer, text, self._contexts)

    def drop(self) -> None:
        """The stream cannot be watched; later reports about it are ignored."""
        self._is_over = self.inside.finished = True

    def _set_left(self, is_left: bool) -> None:
        if self._process != os.getpid():
            return
        with self._lock:
            if self.is_left is not is_left and not self._is_over:
                self.is_left = self.inside.finished = is_left
                self._watch.left(1 if is_left else -1)


def tee_answer(stream: Streamed, reading: Reading) -> None:
    """Makes `stream` report to `reading` how far it is read."""
    if isinstance(stream, StreamingResponse):
        stream.response_gen = tee(stream.response_gen, reading)
    elif isinstance(stream, AsyncStreamingResponse):
        stream.response_gen = atee(stream.response_gen, reading)
    else:
        tee_chat(stream, reading)
