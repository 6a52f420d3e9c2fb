"""`PiDecisionModel`: Pi behind LangChain's typed decisions, a probability for each yes/no question."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from pi_integrations.client import AnyClient
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.decision_state import read_state
from pi_integrations.langchain.exchange import Exchange
from pi_integrations.langchain.texts import plain_text
from pi_integrations.models import ScoreResult, Usage, describe, render

try:
    from langchain_core.decisions import (  # type: ignore[import-not-found, unused-ignore]
        BaseDecisionModel,
        ClassifierResponse,
        Noul,
        NoulAnswer,
    )
except ImportError as error:
    if error.name != "langchain_core.decisions":
        raise

    class BaseDecisionModel:  # type: ignore[no-redef, unused-ignore]
        """Stands where langchain-core has no decisions yet, and says so."""

        def __init__(self, **options: Any) -> None:
            raise ImportError(
                "PiDecisionModel needs langchain_core.decisions, which came with langchain-core 1.8; run: pip install"
                " 'langchain-core>=1.8'",
                name="langchain_core.decisions",
            )


__all__ = ["PiDecisionModel"]


class PiDecisionModel(BaseDecisionModel):  # type: ignore[misc, unused-ignore]
    """Answers `Noul` questions, which are yes/no questions, with the score Pi gives them: a probability of yes.

    Goes wherever LangChain takes a decision model, such as `AutoModeMiddleware`. All questions of a request are scored
    at once, and `criteria` become part of their question. Choices, scores and boxes are refused.

    The state becomes an exchange: of messages, or a mapping that holds `messages` alone, the last message is judged and
    those before it are its context; a mapping with `llm_output` or `output`, and `llm_input` or `input` where there is
    one, is an exchange already; a string is judged by itself, and anything else as JSON, its messages written as role
    and content.

    Needs langchain-core 1.8 or later.

    Args:
        client: A `PiClient` or `AsyncPiClient`; default: one from the environment, made at the first decision.
        model: What the model is called in responses and traces.

    Raises:
        ImportError: with an older langchain-core.
        PiUsageError: the client is none; when deciding: a question is no `Noul`, or no endpoint is configured.
        PiError: when deciding: whatever `scoring_system.score` raises, also when a question has no usable answer.

    Example (with langchain-core 1.8):

        from langchain_core.decisions import Noul

        from pi_integrations import embedded
        from pi_integrations.langchain import PiDecisionModel

        with embedded(judge="baseline") as client:
            model = PiDecisionModel(client=client)
            urgent = Noul(instructions="Does the message need an answer today?")
            response = model.invoke({"state": "Production is down.", "questions": {"urgent": urgent}})
        print(response.nouls["urgent"].noul)  # in [0, 1]
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    model: str = "pi"
    """What the model is called in responses and traces."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """A `PiClient`, an `AsyncPiClient`, or None for one from the environment."""
    _client: AnyClient = PrivateAttr()

    def __init__(self, *, client: Any = None, model: str = "pi", name: str | None = None) -> None:
        checked = AnyClient(client)
        super().__init__(**{"client": client, "model": model, "name": name})
        self._client = checked

    @property
    def _provider(self) -> str:
        return "pi"

    def _classify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        return loop_thread().run(self._aclassify(state, questions))

    async def _aclassify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        spec = [{"question": _text(key, question), "label": key} for key, question in questions.items()]
        exchange = read_state(state)
        return self._response(await self._score(exchange, spec))

    async def _score(self, exchange: Exchange, spec: list[dict[str, Any]]) -> ScoreResult:
        return await self._client.asynchronous.scoring_system.score(
            llm_input=exchange.llm_input, llm_output=exchange.llm_output, scoring_spec=spec, unscored="error"
        )

    def _response(self, result: ScoreResult) -> ClassifierResponse:
        scores = result.question_scores or {}
        answers: dict[str, Any] = {key: NoulAnswer(type="noul", noul=score) for key, score in scores.items()}
        return ClassifierResponse(model=self.model, answers=answers, usage=_tokens(result.usage))


def _tokens(usage: Usage | None) -> Any:
    """The tokens where they are known: LangChain makes a 0 of what is not."""
    if usage is None or usage.input_tokens is None:
        return None
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _text(key: str, question: Any) -> str:
    """The question Pi is asked.

    Raises:
        PiUsageError: when it is no yes/no question.
    """
    noul = _as_noul(key, question)
    parts = [plain_text(f"instructions of {key!r}", noul.instructions)]
    if noul.criteria is not None:
        meanings = (("Yes means", noul.criteria.true), ("No means", noul.criteria.false))
        parts += [f"{word}: {plain_text('criteria', said)}" for word, said in meanings if said is not None]
    return "\n".join(parts)


def _as_noul(key: str, question: Any) -> Noul:
    if isinstance(question, Noul):
        return question
    kind = question.get("type", "noul") if isinstance(question, dict) else getattr(question, "type", question)
    if kind != "noul":
        raise PiUsageError(f"question {key!r} is a {kind}; Pi answers yes/no questions: give Noul(instructions=...)")
    try:
        return Noul.model_validate(question)  # LangChain hands on raw mappings as they are
    except ValidationError as error:
        raise PiUsageError(render(describe(error, prefix=["questions", key]))) from None
