"""Real LlamaIndex query engines over nodes in memory and a model that answers from a function: no downloads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.llms import CustomLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

PASSAGES = ("Repairs take a week.", "Repairs are free within two years.")
ANSWER = "A repair takes one week."
T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns, in a thread without an event loop.

    There LlamaIndex's synchronous helpers use `asyncio.run`; on the main thread they leave a loop open behind them.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class Talker(CustomLLM):
    """Says `answer`, a word at a time when streamed, and remembers how many words were taken from it."""

    answer: str = ANSWER
    _said: list[str] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    @property
    def said(self) -> list[str]:
        return self._said

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.answer)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def words() -> CompletionResponseGen:
            text = ""
            for word in self.answer.split(" "):
                piece = word if not text else f" {word}"
                text += piece
                self._said.append(piece)
                yield CompletionResponse(text=text, delta=piece)

        return words()


class Shelf(BaseRetriever):
    """Finds the same passages for every query."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=text), score=1.0) for text in PASSAGES]


class Canned(BaseQueryEngine):
    """Answers with whatever `make` returns."""

    def __init__(self, make: Callable[[], RESPONSE_TYPE]) -> None:
        super().__init__(callback_manager=None)
        self._make = make

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._make()

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._make()

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}


def query_engine(llm: Talker | None = None, *, streaming: bool = False, **given: Any) -> RetrieverQueryEngine:
    """A retriever over `PASSAGES` and a synthesizer."""
    synthesizer = get_response_synthesizer(llm=llm or Talker(), streaming=streaming, **given)
    return RetrieverQueryEngine(retriever=Shelf(), response_synthesizer=synthesizer, **given)
