"""An engine that runs jobs, in this process, with a generator that needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from questions import POLITE

from pi_integrations import PiClient, embedded
from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict

__all__ = ["POLITE", "SEEDS", "generating_client"]

SEEDS = [("How long does a repair take?", "A week."), ("Do you sell helmets?", "Yes, in four sizes.")]


def _by_length(exchange: Exchange, question: str) -> Verdict | float:
    if question != POLITE:
        return Verdict.unscored("no answer to that", method="scripted")
    return 0.9 if len(exchange.llm_output) % 2 else 0.2


@contextmanager
def generating_client(data_dir: Path, generator: Any = None, **settings: Any) -> Iterator[PiClient]:
    """A client over an engine with jobs; every pair is scored .9 or .2 by the length of its answer."""
    generator = generator or ScriptedGenerator(record=False)
    jobs = JobSettings(data_dir=data_dir)
    with embedded(
        settings=EngineSettings(judge=ScriptedJudge(_by_length), jobs=jobs, generator=generator, **settings)
    ) as client:
        yield client
