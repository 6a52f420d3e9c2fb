"""The engine: answers the Pi API on the user's own machine.

Names resolve when first used: sandbox workers import through this package and must start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pi_integrations.engine.app import create_app as create_app
    from pi_integrations.engine.settings import EngineSettings as EngineSettings

__all__ = ["EngineSettings", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from pi_integrations.engine.app import create_app

        return create_app
    if name == "EngineSettings":
        from pi_integrations.engine.settings import EngineSettings

        return EngineSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
