"""`serve`: the engine behind uvicorn, which drains requests in flight before it stops."""

from __future__ import annotations

import gc
from typing import Any

from pydantic import SecretStr

from pi_integrations.cli.console import errors

__all__ = ["run_engine"]


def run_engine(
    *, host: str | None, port: int | None, judge: str | None, api_keys: list[str] | None, unscored: str | None
) -> None:
    """Serves until interrupted or terminated.

    Raises:
        PiUsageError: for wrong settings, or when the engine would listen beyond loopback without keys.
        ImportError: when the `engine` extra, or the judge's, is not installed.
    """
    try:
        import uvicorn

        from pi_integrations.engine.app import create_app
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise ImportError(f"serve needs {error.name}; run: pip install 'pi-integrations[engine]'") from error
    given: dict[str, Any] = {"host": host, "port": port, "judge": judge, "unscored": unscored}
    if api_keys:
        given["api_keys"] = tuple(SecretStr(key) for key in api_keys)
    settings = EngineSettings.from_env(**given)
    settings.check_binding()
    app = create_app(settings)
    # What start-up made stays for good. Unfrozen, every full collection would walk it, and requests would wait 50 ms.
    gc.collect()
    gc.freeze()
    keys = f"{len(settings.api_keys)} key(s)" if settings.api_keys else "no keys: this machine only"
    errors().print(f"Pi engine, judge {settings.judge}, {keys}. Stop it with Ctrl+C.", markup=False)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        server_header=False,
    )
