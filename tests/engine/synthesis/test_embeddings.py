"""Near-duplicates by meaning, where the engine has an embeddings model."""

from __future__ import annotations

import json
import math

import pytest
from attempts import Attempt, Journal, inputs_family, request_for, run_attempt
from langchain_core.embeddings import Embeddings

from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

SAME = ["How can I get my money back?", "Please explain refunds to me", "A refund is what I would like"]


class Meanings(Embeddings):
    """Inputs about money mean the same; each other one means something of its own."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.fault = fault

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.fault:
            raise self.fault
        self.asked.extend(texts)
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        if text in SAME:
            return [1.0, 0.0, 0.0]
        angle = (sum(text.encode()) % 1000) / 1000 * math.pi
        return [0.0, math.cos(angle), math.sin(angle)]


def refunds_first() -> ScriptedGenerator:
    """Its first batch says the same three times, as often as it is asked."""
    first: list[str] = []

    def said(prompt: str) -> str | None:
        first[:] = first or [prompt] * ("new inputs" in prompt)
        return json.dumps(SAME) if prompt in first else None

    return ScriptedGenerator(answers=said)


async def made(family_given: dict[str, object], dies_at: list[int | None]) -> Journal:
    """The journal of a job for six inputs that dies at these awaits, one an attempt."""
    model, journal = refunds_first(), Journal()
    for at in dies_at:
        family = inputs_family(model, **family_given)
        request = request_for(family, 6, seeds=["Where is it?"], batch_size=3, exploration_mode="CONSERVATIVE")
        await run_attempt(family, request, Attempt(journal, at))
    return journal


async def test_the_same_in_other_words_is_similar() -> None:
    """Only where there are embeddings."""
    with_them = await made({"embeddings": Meanings(), "cosine": 0.999999}, [None])
    assert [row for row in with_them.rows if row in SAME] == SAME[:1] and with_them.figures["similar"] >= 2
    without = await made({}, [None])
    assert [row for row in without.rows if row in SAME] == SAME


async def test_embeddings_survive_a_kill_and_are_not_requested_again() -> None:
    """They are on record."""
    calm = await made({"embeddings": Meanings(), "cosine": 0.999999}, [None])
    for at in range(1, 40):
        meanings = Meanings()
        journal = await made({"embeddings": meanings, "cosine": 0.999999}, [at, None])
        assert journal.rows == calm.rows and len(meanings.asked) <= len(set(meanings.asked)) + 3


async def test_embeddings_that_cannot_be_had_end_the_job() -> None:
    """With the reason."""
    family = inputs_family(ScriptedGenerator(), embeddings=Meanings(ValueError("no such model")))
    with pytest.raises(JobStopped, match="the embeddings model failed: ValueError: no such model"):
        await run_attempt(family, request_for(family, 2, seeds=["Where is it?"]), Attempt(Journal()))
