"""The `chat` judge: any LangChain chat model answers the questions."""

from __future__ import annotations

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    raise ImportError('the chat judge needs LangChain: pip install "pi-integrations[chat]"') from error

from pi_integrations.engine.chat_models.budget import Prices
from pi_integrations.engine.chat_models.models import chat_model_from_string
from pi_integrations.engine.judges.chat_model.judge import ChatModelJudge

__all__ = ["ChatModelJudge", "Prices", "chat_model_from_string"]
