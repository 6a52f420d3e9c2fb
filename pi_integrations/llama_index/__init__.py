"""Pi scores inside LlamaIndex: an evaluator, handlers that score live answers in the background, a node postprocessor.

Needs the `llama-index` extra. Names resolve when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pi_integrations.llama_index.answers import AnswerCounts as AnswerCounts
    from pi_integrations.llama_index.callbacks import PiCallbackHandler as PiCallbackHandler
    from pi_integrations.llama_index.evaluation import PiEvaluationResult as PiEvaluationResult
    from pi_integrations.llama_index.evaluator import PiEvaluator as PiEvaluator
    from pi_integrations.llama_index.instrumentation import PiInstrumentationHandler as PiInstrumentationHandler
    from pi_integrations.llama_index.postprocessor import PiNodePostprocessor as PiNodePostprocessor
    from pi_integrations.llama_index.synthetic_data_reader import PiSyntheticDataReader as PiSyntheticDataReader

_HOMES = {
    "AnswerCounts": "answers",
    "PiCallbackHandler": "callbacks",
    "PiEvaluationResult": "evaluation",
    "PiEvaluator": "evaluator",
    "PiInstrumentationHandler": "instrumentation",
    "PiNodePostprocessor": "postprocessor",
    "PiSyntheticDataReader": "synthetic_data_reader",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        # `workflows` is a package of its own that llama-index-core imports.
        if not (error.name or "").startswith(("llama_index", "workflows")):
            raise
        raise ImportError(
            f"{__name__}.{name} needs LlamaIndex ({error}); run: pip install 'pi-integrations[llama-index]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
