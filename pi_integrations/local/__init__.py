"""The local front door: a client over an engine in this process, or over one in a process of its own.

Names resolve when first used: an engine process needs none of the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pi_integrations.local.embedded_engine import Embedded as Embedded
    from pi_integrations.local.embedded_engine import embedded as embedded

__all__ = ["Embedded", "embedded"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pi_integrations.local import embedded_engine

    return getattr(embedded_engine, name)
