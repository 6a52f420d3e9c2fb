"""An application with LangSmith tracing on, run in a process of its own: scores and generates, traced and untraced.

Prints as JSON what its callback handler saw of chat models. Every exchange names its case.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from chat_fakes import FunctionModel, said
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith import tracing_context
from lives import inputs_family, run_job

from pi_integrations import embedded
from pi_integrations.background import BackgroundScorer
from pi_integrations.client import PiClient
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

RUBRIC = [{"question": "Is it polite?"}]
ANSWER = '{"answers": [{"question": 1, "explanation": "It greets.", "probability": 0.9}]}'


class Handler(BaseCallbackHandler):
    """The application's own."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.seen.append(str(messages))


def score(client: PiClient, case: str) -> float:
    return client.scoring_system.score(llm_input=case, llm_output="Hello", scoring_spec=RUBRIC).total_score


async def score_async(case: str) -> None:
    async with embedded(judge=judge()) as client:
        await client.scoring_system.score(llm_input=case, llm_output="Hello", scoring_spec=RUBRIC)


def score_in_background(client: PiClient, case: str) -> None:
    with BackgroundScorer(RUBRIC, client=client) as scorer:
        scorer.submit(llm_input=case, llm_output="Hello")
        assert scorer.flush(timeout=20) and scorer.counts().scored == 1


def generate(case: str) -> None:
    asyncio.run(run_job(inputs_family(ScriptedGenerator()), 2, seeds=[case], exploration_mode="CONSERVATIVE"))


def judge() -> FunctionModel:
    return FunctionModel(reply=lambda messages, request: said(ANSWER))


def main() -> None:
    handler = Handler()
    with embedded(judge=judge()) as client:
        cases: dict[str, Callable[[str], Any]] = {
            "sync": lambda case: score(client, case),
            "async": lambda case: asyncio.run(score_async(case)),
            "background": lambda case: score_in_background(client, case),
            "generator": generate,
        }
        for name, work in cases.items():
            application = RunnableLambda(work).with_config(run_name="application", callbacks=[handler])
            with tracing_context(enabled=False):
                application.invoke(f"{name} untraced")
            application.invoke(f"{name} traced")
    wait_for_all_tracers()
    sys.stdout.write(json.dumps(handler.seen))


if __name__ == "__main__":
    main()
