"""Chat models that answer from a function: real langchain-core models without a provider behind them."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field, SecretStr

USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}


class FunctionModel(BaseChatModel):
    """Answers with `reply(messages, kwargs)`, awaited or raised. It has neither structured output nor a temperature."""

    reply: Callable[[list[Any], dict[str, Any]], Any]
    model: str = "tiny-1"
    api_key: SecretStr = SecretStr("pa55phrase-of-the-model")
    delay: float = 0.0
    seen: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "function"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("async only")

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self.seen.append({"messages": messages, "temperature": getattr(self, "temperature", None), **kwargs})
        await asyncio.sleep(self.delay)
        answer = self.reply(messages, self.seen[-1])
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])


class ToolModel(FunctionModel):
    """A `FunctionModel` with a temperature and with structured output by tool call."""

    temperature: float | None = None

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=tools, **kwargs)


def said(text: str, *, finish: str = "stop", **more: Any) -> AIMessage:
    """A plain answer."""
    metadata = {"finish_reason": finish, **more.pop("response_metadata", {})}
    return AIMessage(text, response_metadata=metadata, usage_metadata=USAGE, **more)


def verdicts(*items: Any) -> AIMessage:
    """A JSON answer: probabilities for questions 1, 2, …, or whole items."""
    listed = [
        item if isinstance(item, dict) else {"question": n, "explanation": f"because {n}", "probability": item}
        for n, item in enumerate(items, start=1)
    ]
    return said(json.dumps({"answers": listed}))


def tokens(*listed: str | dict[str, float], finish: str = "stop") -> AIMessage:
    """An answer with log-probabilities; a dict gives the probabilities at its place, likeliest first."""
    content = []
    for token in listed:
        odds = {token: 1.0} if isinstance(token, str) else token
        tops = [{"token": text, "logprob": math.log(share) if share else -9999.0} for text, share in odds.items()]
        content.append({**tops[0], "top_logprobs": tops})
    text = "".join(entry["token"] for entry in content)
    return said(text, finish=finish, response_metadata={"logprobs": {"content": content}})


def by_request(*, words: Any, other: Any) -> Callable[[list[Any], dict[str, Any]], Any]:
    """A reply that tells requests for log-probabilities from the rest."""
    return lambda messages, request: words if request.get("logprobs") else other
