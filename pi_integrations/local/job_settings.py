"""The settings of an engine in a process of its own: all of them can be handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["no_engine", "settings_with_jobs"]


def settings_with_jobs(
    settings: EngineSettings | None,
    judge: Any,
    generator: str | None,
    prices: Mapping[str, float] | None,
    data_dir: str | PathLike[str] | None,
) -> EngineSettings:
    """`settings`, else the environment's, with jobs and with what else was given.

    Raises:
        ImportError: when the `engine` extra is not installed.
        PiUsageError: when the judge or the generator is an object.
    """
    try:
        from pi_integrations.engine.jobs.settings import JobSettings
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise no_engine(error) from error
    settings = settings or EngineSettings.from_env()
    where = settings.jobs or JobSettings.from_env()
    given = {"judge": judge, "generator": generator, "generator_prices": dict(prices) if prices else None}
    changed = {name: value for name, value in given.items() if value is not None}
    # Absolute: an engine that takes the place of a dead one must find the jobs wherever this process is by then.
    folder = (Path(data_dir) if data_dir else where.data_dir).expanduser().absolute()
    settings = replace(settings, jobs=replace(where, data_dir=folder), **changed)
    _check_string("judge", settings.judge, "baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME or object:MODULE:NAME")
    if settings.generator_embeddings is not None:
        _check_string("generator_embeddings", settings.generator_embeddings, "object:MODULE:NAME")
    if settings.generator is not None:
        _check_string("generator", settings.generator, "chat:PROVIDER:MODEL or object:MODULE:NAME")
    return settings


def _check_string(name: str, value: Any, ways: str) -> None:
    if not isinstance(value, str):
        raise PiUsageError(
            f"{name} is a {type(value).__name__}; with jobs=True the engine is a process of its own, where objects of"
            f" this one cannot go: give {ways}. object:MODULE:NAME is imported there"
        )


def no_engine(error: ImportError) -> ImportError:
    """What `error`, raised while the engine was imported, means to a user."""
    return ImportError(
        f"an engine of your own needs {error.name}; run: pip install 'pi-integrations[engine]'", name=error.name
    )
