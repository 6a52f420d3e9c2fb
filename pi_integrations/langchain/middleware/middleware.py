"""`PiScoreMiddleware`: an agent's answer is scored, and written again while it falls short."""

from __future__ import annotations

from typing import Any, Literal

from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.middleware.after_agent import AfterAgentHooks
from pi_integrations.langchain.middleware.base import OnScoreError, ScoreMiddleware
from pi_integrations.langchain.middleware.model_call import ModelCallHooks
from pi_integrations.langchain.middleware.verdicts import Feedback, default_feedback
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.models import AggregationMethod, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiScoreMiddleware"]

Mode = Literal["model_call", "after_agent"]

_HOOKS: dict[str, type[ScoreMiddleware]] = {"model_call": ModelCallHooks, "after_agent": AfterAgentHooks}


class PiScoreMiddleware(ScoreMiddleware):
    """Scores an agent's final answer, and has the model write it again until it is good enough.

    For `langchain.agents.create_agent`, sync and async. A draft whose total is below `threshold` goes back to the model
    with the questions that scored low, up to `max_retries` times in a run of the agent; when these are exhausted, or
    the model fails on one, the best-scoring draft is the answer. Messages that call tools are not scored. The scores
    are in the agent's state and its result under `pi_scores`, by the name of the middleware: a `PiScoreReport` each,
    about the answer of this run.

    Streaming: an agent streamed with `stream_mode="messages"` shows the tokens of rejected drafts as they are written,
    before anybody can score them. Where users must never see a rejected draft, show them the last message of what
    `invoke` gives, or with `mode="model_call"` the messages of `stream_mode="values"` or `"updates"`; with
    `mode="after_agent"` these hold every draft. Leave `pi_retries`, the middleware's own memory, out of a stream by its
    `output_keys`.

    With `mode="model_call"`, drafts are scored inside the model call: rejected ones never enter the messages, and do
    not count for `ModelCallLimitMiddleware`; while a retry calls tools, the best one waits in `pi_retries`. With
    `mode="after_agent"`, the agent is sent back to its model when it is done: rejected drafts and notes stay in the
    messages up to the best one, every draft passes through the other middlewares and counts as a model call, and the
    scores do not see the agent's system prompt, which is not in its state. Answers given through a structured-output
    tool are left alone, and so is what the model did not write, such as the message of a limit or a guardrail.

    Several in one agent need names. In `model_call` mode each wraps those after it, and every draft that it asks for
    gives them all their retries again. A subclass with hooks of its own calls those of `super()` in them.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Either client; default: one from the environment, made at the first score.
        threshold: Total in [0, 1] from which an answer is good enough; default .5.
        max_retries: Further drafts to ask for in a run of the agent, 0 to score only; default 2.
        on_score_error: What to do when an answer cannot be scored, retries of the client included: `accept` it, with
            the reason under `error` in its report and logged once per kind, or `raise`; default `accept`.
        feedback: From the texts of the questions that scored low to what the model is told.
        name: Tells several of these in one agent apart.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: What to do about questions without a usable answer: `error` or `partial`; default: as the client says.
        mode: `model_call` (default) or `after_agent`.

    Raises:
        PiUsageError: the spec or an option is wrong.
        PiError: with `on_score_error="raise"`, from the agent: whatever `scoring_system.score` raises.

    Example:
        ```python
        from langchain.agents import create_agent
        from langchain_core.language_models import FakeListChatModel

        from pi_integrations import embedded
        from pi_integrations.langchain import PiScoreMiddleware

        model = FakeListChatModel(responses=["No idea.", "It left our warehouse this morning."])
        rubric = [{"question": "Does the answer say where the order is?", "label": "Place"}]
        with embedded(judge="baseline") as client:
            agent = create_agent(model, middleware=[PiScoreMiddleware(rubric, client=client, threshold=0.6)])
            state = agent.invoke({"messages": [("user", "Where is my order?")]})
        print(state["messages"][-1].content, state["pi_scores"]["PiScoreMiddleware"])
        ```
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: AsyncPiClient | PiClient | None = None,
        threshold: float = 0.5,
        max_retries: int = 2,
        on_score_error: OnScoreError = "accept",
        feedback: Feedback = default_feedback,
        name: str = "PiScoreMiddleware",
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
        mode: Mode = "model_call",
    ) -> None:
        if mode not in _HOOKS:
            raise PiUsageError(f"mode is {mode!r}; give 'model_call' or 'after_agent'")
        super().__init__(
            Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored),
            threshold=threshold,
            max_retries=max_retries,
            on_score_error=on_score_error,
            feedback=feedback,
            name=name,
        )
        self.__class__ = _with_hooks(type(self), mode)


def _with_hooks(kind: type[Any], mode: str) -> Any:
    """`kind` with the hooks of `mode` and no others: an agent gets a step for every hook that a class has."""
    return type(kind.__name__, (kind, _HOOKS[mode]), {"__module__": kind.__module__, "__doc__": kind.__doc__})
