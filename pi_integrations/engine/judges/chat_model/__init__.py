"""The `chat` judge: any LangChain chat model answers the questions. The only room that imports LangChain."""

from __future__ import annotations

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    raise ImportError('the chat judge needs LangChain: pip install "pi-integrations[chat]"') from error

from pi_integrations.engine.chat_models.prices import Prices
from pi_integrations.engine.judges.chat_model.judge import ChatModelJudge
from pi_integrations.engine.judges.chat_model.model import chat_model_from_string

__all__ = ["ChatModelJudge", "Prices", "chat_model_from_string"]
