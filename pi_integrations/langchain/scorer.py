"""`PiScorer`: Pi scores as a step of a LangChain chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Required

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import TypedDict  # pydantic cannot make a schema of typing's before Python 3.12

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.exchange import EXTRAS, Exchange, ExchangeReader
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.models import AggregationMethod, DimensionSpec, Question, ScoreResult, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiScorer", "ScorerInput"]

_reader = ExchangeReader()
_NEEDED = ("llm_input", "llm_output")


class ScorerInput(TypedDict, total=False):
    """What a `PiScorer` takes; other keys are ignored, so that it fits behind `RunnablePassthrough.assign`."""

    llm_input: Required[Any]
    """What the application was asked: a string (may be empty), a prompt value, a message, or messages."""
    llm_output: Required[Any]
    """What it answered: a string, a message, or messages whose last is the answer."""
    reference: Any
    """A known good answer."""
    contexts: Any
    """Retrieved passages, best first: strings, documents, or one of either; `context` means the same."""
    system_prompt: str | None
    """Its standing instructions; default: the system messages in `llm_input`."""
    history: Sequence[Any] | None
    """Earlier turns, as messages or `(role, text)`; default: the earlier messages in `llm_input`."""
    kwargs: Mapping[str, Any] | None
    """Handed to code questions."""


class PiScorer(RunnableSerializable[ScorerInput, ScoreResult]):
    """A runnable that scores one exchange: a `ScorerInput` mapping in, a `ScoreResult` out.

    Runs, tags and callbacks are LangChain's own. `batch` and `abatch` keep to the client's `max_concurrency`. In a
    streaming chain it waits for its own input alone and yields one value. It is not LangChain-serialisable, and neither
    its dump nor its repr shows the client.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: A `PiClient` or `AsyncPiClient`; default: one from the environment, made at the first score.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: What to do about questions without a usable answer: `error` or `partial`; default: as the client says.

    Raises:
        PiUsageError: the spec, an option or an input is wrong; the message names the field.
        PiStatusError: when scoring: the service answered with an error, retries included.
        PiConnectionError: when scoring: no whole answer came, retries included.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from langchain_core.runnables import RunnablePassthrough

        from pi_integrations import embedded
        from pi_integrations.langchain import PiScorer

        model = FakeListChatModel(responses=["It left our warehouse this morning."])
        with embedded(judge="baseline") as client:
            scorer = PiScorer(
                scoring_spec=[{"question": "Does the answer say where the order is?", "label": "Place"}], client=client
            )
            chain = {"llm_input": RunnablePassthrough(), "llm_output": model} | scorer
            scores = chain.invoke("Where is my order?")
        print(scores.total_score, scores.question_scores["Place"])  # each in [0, 1]
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True, extra="forbid")

    scoring_spec: list[Question] | DimensionSpec
    """The rubric, checked."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """A `PiClient`, an `AsyncPiClient`, or None for one from the environment."""
    aggregation_method: AggregationMethod | None = None
    """The mean that makes the total."""
    unscored: UnscoredPolicy | None = None
    """What to do about questions without a usable answer."""
    _scoring: Scoring = PrivateAttr()

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: Any = None,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
        name: str | None = None,
    ) -> None:
        scoring = Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored)
        options = {"aggregation_method": scoring.aggregation_method, "unscored": unscored, "name": name}
        super().__init__(**{"scoring_spec": scoring.spec, "client": client, **options})
        self._scoring = scoring

    def invoke(self, input: ScorerInput, config: RunnableConfig | None = None, **kwargs: Any) -> ScoreResult:
        """The scores of one exchange."""
        return self._call_with_config(self._score, input, config, **kwargs)

    async def ainvoke(self, input: ScorerInput, config: RunnableConfig | None = None, **kwargs: Any) -> ScoreResult:
        """The scores of one exchange."""
        return await self._acall_with_config(self._ascore, input, config, **kwargs)

    def _score(self, exchange: ScorerInput) -> ScoreResult:
        return self._scoring.score(_read(exchange))

    async def _ascore(self, exchange: ScorerInput) -> ScoreResult:
        return await self._scoring.ascore(_read(exchange))


def _read(exchange: Any) -> Exchange:
    if not isinstance(exchange, Mapping):
        raise PiUsageError(f"PiScorer takes a mapping with llm_input and llm_output, not a {type(exchange).__name__}")
    for name in _NEEDED:
        if name not in exchange:
            raise PiUsageError(f"{name} is missing from what PiScorer was given: {', '.join(map(repr, exchange))}")
    extras = {name: exchange[name] for name in EXTRAS if name in exchange}
    return _reader.read(exchange["llm_input"], exchange["llm_output"], exchange.get("reference"), **extras)
