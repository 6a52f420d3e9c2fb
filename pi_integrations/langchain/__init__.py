"""Pi scores in LangChain and LangSmith: for evaluations, for live traffic, and for agents and chains that act on them.

Names resolve when first used, so that each loads only the framework package it is built on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pi_integrations.langchain.callback_handler import PiScoreCallbackHandler as PiScoreCallbackHandler
    from pi_integrations.langchain.decision_model import PiDecisionModel as PiDecisionModel
    from pi_integrations.langchain.document_filter import FilterInput as FilterInput
    from pi_integrations.langchain.document_filter import PiDocumentFilter as PiDocumentFilter
    from pi_integrations.langchain.evaluators import AsyncEvaluator as AsyncEvaluator
    from pi_integrations.langchain.evaluators import Evaluator as Evaluator
    from pi_integrations.langchain.evaluators import create_async_pi_evaluator as create_async_pi_evaluator
    from pi_integrations.langchain.evaluators import create_pi_evaluator as create_pi_evaluator
    from pi_integrations.langchain.feedback import Feedback as Feedback
    from pi_integrations.langchain.feedback_sink import LangSmithFeedbackSink as LangSmithFeedbackSink
    from pi_integrations.langchain.middleware import PiScoreMiddleware as PiScoreMiddleware
    from pi_integrations.langchain.middleware import PiScoreReport as PiScoreReport
    from pi_integrations.langchain.pairwise_evaluator import PiPairwiseStringEvaluator as PiPairwiseStringEvaluator
    from pi_integrations.langchain.run_counts import RunCounts as RunCounts
    from pi_integrations.langchain.run_evaluator import PiRunEvaluator as PiRunEvaluator
    from pi_integrations.langchain.scorer import PiScorer as PiScorer
    from pi_integrations.langchain.scorer import ScorerInput as ScorerInput
    from pi_integrations.langchain.string_evaluator import PiStringEvaluator as PiStringEvaluator
    from pi_integrations.langchain.synthetic_data_loader import PiSyntheticDataLoader as PiSyntheticDataLoader

_HOMES = {
    **dict.fromkeys(("AsyncEvaluator", "Evaluator", "create_async_pi_evaluator", "create_pi_evaluator"), "evaluators"),
    "Feedback": "feedback",
    **dict.fromkeys(("FilterInput", "PiDocumentFilter"), "document_filter"),
    "LangSmithFeedbackSink": "feedback_sink",
    "PiDecisionModel": "decision_model",
    "PiPairwiseStringEvaluator": "pairwise_evaluator",
    "PiRunEvaluator": "run_evaluator",
    "PiScoreCallbackHandler": "callback_handler",
    **dict.fromkeys(("PiScoreMiddleware", "PiScoreReport"), "middleware"),
    **dict.fromkeys(("PiScorer", "ScorerInput"), "scorer"),
    "PiStringEvaluator": "string_evaluator",
    "PiSyntheticDataLoader": "synthetic_data_loader",
    "RunCounts": "run_counts",
}
_EXTRAS = {
    "langchain_core": "langchain",
    "langsmith": "langchain",
    "langchain_classic": "langchain-classic",
    "langchain": "langchain-agents",
    "langgraph": "langchain-agents",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_home(name), name)
    globals()[name] = value
    return value


def _home(name: str) -> Any:
    try:
        return import_module(f"{__name__}.{_HOMES[name]}")
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        # An ImportError that is no ModuleNotFoundError: the package is installed, but too old to have the name.
        needed = missing if isinstance(error, ModuleNotFoundError) else f"a newer {missing} ({error})"
        message = f"{name} needs {needed}; run: pip install 'pi-integrations[{_EXTRAS[missing]}]'"
        raise ImportError(message, name=error.name) from error


def __dir__() -> list[str]:
    return __all__
