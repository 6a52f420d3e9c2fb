"""`PiDocumentFilter`: keeps the retrieved documents that score well for the query."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import TypedDict  # pydantic cannot make a schema of typing's before Python 3.12

from pi_integrations.background import WarnOnce
from pi_integrations.background.absorbed_errors import kind_of
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.langchain.exchange import Exchange
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.models import AggregationMethod, DimensionSpec, Question, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["FilterInput", "PiDocumentFilter"]

logger = logging.getLogger("pi_integrations.langchain")

RELEVANT = "Does the text hold information that helps to answer the input?"


class FilterInput(TypedDict):
    """What a `PiDocumentFilter` takes as a runnable."""

    query: str
    """What the documents were retrieved for."""
    documents: Sequence[Document]
    """The documents, best first."""


class PiDocumentFilter(BaseDocumentCompressor, RunnableSerializable[FilterInput, list[Document]]):
    """Scores each document for the query, and keeps those at or above `min_score`, the best first.

    The query is the input of the exchange and the document's text its output. Equal scores keep the order in which
    they were retrieved. What comes back are copies with the total under `pi_score` in their metadata. A compressor for
    LangChain's `ContextualCompressionRetriever`, and a runnable from `query` and `documents` to documents.

    Args:
        scoring_spec: One yes/no question as a string, or a spec; default: whether the text helps to answer the input.
        client: Either client; default: one from the environment, made at the first score.
        min_score: Total in [0, 1] from which a document is kept; default .5.
        top_k: Documents to keep at most; default all.
        unscored_documents: What to do with a document that could not be scored, retries of the client included: `keep`
            it, behind those with a score and in the order retrieved, with `pi_score` None and the reason under
            `pi_unscored`; `drop` it; or `raise`. Default `keep`. What is kept or dropped is logged once per kind.
        max_concurrency: Documents being scored at a time, within the client's own limit; default 8.
        aggregation_method: Mean of a flat spec: ARITHMETIC_MEAN, GEOMETRIC_MEAN (default) or HARMONIC_MEAN.
        unscored: What to do about questions without a usable answer: `error` or `partial`; default: as the client says.

    Raises:
        PiUsageError: the spec or an option is wrong, or when filtering: what was given is no query and documents, or no
            endpoint is configured.
        PiError: when filtering, with `unscored_documents="raise"`: whatever `scoring_system.score` raises.

    Example:
        ```python
        from langchain_core.documents import Document

        from pi_integrations import embedded
        from pi_integrations.langchain import PiDocumentFilter

        documents = [Document("Repairs take a week."), Document("We sell shoes.")]
        with embedded(judge="baseline") as client:
            best = PiDocumentFilter(client=client, min_score=0.0, top_k=1)
            kept = best.invoke({"query": "How long does a repair take?", "documents": documents})
        print(kept[0].page_content, kept[0].metadata["pi_score"])
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True, extra="forbid")

    scoring_spec: list[Question] | DimensionSpec
    """The rubric, checked."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """A `PiClient`, an `AsyncPiClient`, or None for one from the environment."""
    min_score: float = Field(default=0.5)
    """Total from which a document is kept."""
    top_k: int | None = None
    """Documents to keep at most."""
    unscored_documents: Literal["keep", "drop", "raise"] = "keep"
    """What to do with documents that could not be scored."""
    max_concurrency: int = 8
    """Documents being scored at a time."""
    aggregation_method: AggregationMethod | None = None
    """The mean that makes the total."""
    unscored: UnscoredPolicy | None = None
    """What to do about questions without a usable answer."""
    _scoring: Scoring = PrivateAttr()
    _warn: WarnOnce = PrivateAttr()

    def __init__(
        self,
        scoring_spec: str | SpecLike = RELEVANT,
        *,
        client: Any = None,
        min_score: float = 0.5,
        top_k: int | None = None,
        unscored_documents: Literal["keep", "drop", "raise"] = "keep",
        max_concurrency: int = 8,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
        name: str | None = None,
    ) -> None:
        _check(min_score, top_k, unscored_documents, max_concurrency)
        spec = [{"question": scoring_spec}] if isinstance(scoring_spec, str) else scoring_spec
        scoring = Scoring(spec, client=client, aggregation_method=aggregation_method, unscored=unscored)
        limits = {"min_score": min_score, "top_k": top_k, "max_concurrency": max_concurrency}
        options = {"aggregation_method": scoring.aggregation_method, "unscored": unscored, "name": name}
        options["unscored_documents"] = unscored_documents
        super().__init__(**{"scoring_spec": scoring.spec, "client": client, **limits, **options})
        self._scoring = scoring
        self._warn = WarnOnce(logger)

    def invoke(self, input: FilterInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The documents to keep."""
        return self._call_with_config(self._filter, input, config, **kwargs)

    async def ainvoke(self, input: FilterInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The documents to keep."""
        return await self._acall_with_config(self._afilter, input, config, **kwargs)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents to keep."""
        return loop_thread().run(self.acompress_documents(documents, query, callbacks))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """`compress_documents`, awaited."""
        documents = _checked(documents)
        self._check_whole(query)
        slots = asyncio.Semaphore(self.max_concurrency)

        async def scored(document: Document) -> Document:
            async with slots:
                return await self._scored(document, query)

        tasks = [asyncio.ensure_future(scored(document)) for document in documents]
        try:
            return self._kept(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    def _filter(self, given: FilterInput) -> list[Document]:
        return self.compress_documents(*_parts(given))

    async def _afilter(self, given: FilterInput) -> list[Document]:
        return await self.acompress_documents(*_parts(given))

    def _check_whole(self, query: Any) -> None:
        """Raises what is wrong with all documents alike, and not with one of them."""
        if not isinstance(query, str):
            raise PiUsageError(f"query is a {type(query).__name__}; give the text the documents were retrieved for")
        _ = self._scoring.client

    async def _scored(self, document: Document, query: str) -> Document:
        try:
            result = await self._scoring.ascore(Exchange(query, document.page_content))
        except PiError as error:
            if self.unscored_documents == "raise":
                raise
            self._warn(kind_of(error), f"A document was not scored: {type(error).__name__}: {error}", error)
            return _with(document, pi_score=None, pi_unscored=f"{type(error).__name__}: {error}")
        return _with(document, pi_score=result.total_score)

    def _kept(self, documents: Iterable[Document]) -> list[Document]:
        known: list[Document] = []
        unknown: list[Document] = []
        for document in documents:
            (unknown if document.metadata["pi_score"] is None else known).append(document)
        best = sorted(known, key=_score, reverse=True)
        kept = [document for document in best if _score(document) >= self.min_score]
        return [*kept, *(unknown if self.unscored_documents == "keep" else [])][: self.top_k]


def _score(document: Document) -> float:
    return float(document.metadata["pi_score"])


def _with(document: Document, **metadata: Any) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, **metadata}})


def _parts(given: Any) -> tuple[Sequence[Document], str]:
    missing = [name for name in ("query", "documents") if not isinstance(given, Mapping) or name not in given]
    if missing:
        raise PiUsageError(f"{missing[0]} is missing; give PiDocumentFilter a mapping with query and documents")
    return given["documents"], given["query"]


def _checked(documents: Any) -> list[Document]:
    is_one = isinstance(documents, Document | str | bytes | Mapping)
    if is_one or not isinstance(documents, Iterable):
        raise PiUsageError(f"documents is a {type(documents).__name__}; give a list of LangChain's Documents")
    listed = list(documents)
    for place, document in enumerate(listed):
        if not isinstance(document, Document):
            raise PiUsageError(
                f"documents[{place}] is a {type(document).__name__}; give a LangChain Document, of a text:"
                " Document(page_content=text)"
            )
    return listed


def _check(min_score: float, top_k: int | None, unscored_documents: str, max_concurrency: int) -> None:
    if not 0 <= min_score <= 1:
        raise PiUsageError(f"min_score is {min_score}; totals are in [0, 1]")
    if (top_k is not None and top_k < 1) or max_concurrency < 1:
        raise PiUsageError(f"top_k is {top_k} and max_concurrency {max_concurrency}; each must be at least 1")
    if unscored_documents not in ("keep", "drop", "raise"):
        raise PiUsageError(f"unscored_documents is {unscored_documents!r}; give 'keep', 'drop' or 'raise'")
