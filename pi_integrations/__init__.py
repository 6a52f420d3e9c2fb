"""Pi scoring for LangChain, LlamaIndex and the shell, against the hosted service or an engine of your own.

Names resolve when first used, so that importing the package loads no framework and no network library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # `X as X` marks a name as exported to type checkers, which never call `__getattr__`.
    from pi_integrations._version import __version__ as __version__
    from pi_integrations.background import BackgroundScorer as BackgroundScorer
    from pi_integrations.background import MemorySink as MemorySink
    from pi_integrations.client import AsyncPiClient as AsyncPiClient
    from pi_integrations.client import ClientSettings as ClientSettings
    from pi_integrations.client import MemoryResultCache as MemoryResultCache
    from pi_integrations.client import PiClient as PiClient
    from pi_integrations.client import Progress as Progress
    from pi_integrations.client import RetryPolicy as RetryPolicy
    from pi_integrations.client import Scored as Scored
    from pi_integrations.errors import PiConnectionError as PiConnectionError
    from pi_integrations.errors import PiError as PiError
    from pi_integrations.errors import PiJobFailed as PiJobFailed
    from pi_integrations.errors import PiResponseError as PiResponseError
    from pi_integrations.errors import PiStatusError as PiStatusError
    from pi_integrations.errors import PiUsageError as PiUsageError
    from pi_integrations.local import embedded as embedded
    from pi_integrations.models import DimensionSpec as DimensionSpec
    from pi_integrations.models import Question as Question
    from pi_integrations.models import ScoreResult as ScoreResult

_HOMES = {
    "__version__": "_version",
    **dict.fromkeys(
        ("AsyncPiClient", "ClientSettings", "MemoryResultCache", "PiClient", "Progress", "RetryPolicy", "Scored"),
        "client",
    ),
    **dict.fromkeys(
        ("PiConnectionError", "PiError", "PiJobFailed", "PiResponseError", "PiStatusError", "PiUsageError"), "errors"
    ),
    **dict.fromkeys(("BackgroundScorer", "MemorySink"), "background"),
    "embedded": "local",
    **dict.fromkeys(("DimensionSpec", "Question", "ScoreResult"), "models"),
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # found there from now on, without this function
    return value


def __dir__() -> list[str]:
    return __all__
