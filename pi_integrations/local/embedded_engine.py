"""`embedded`: a client over an engine of the user's own, with no account and no server to look after."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pi_integrations.client.client import AsyncPiClient, PiClient
from pi_integrations.client.in_process import InProcessChannel
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.pacing import Limiter, RetryPolicy
from pi_integrations.client.result_cache import ResultCache
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.transport import Channel
from pi_integrations.errors import PiUsageError
from pi_integrations.local.engine_process import EngineProcessChannel
from pi_integrations.models.wire import UnscoredPolicy

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["Embedded", "embedded"]

_IN_PROCESS = "http://in-process"  # names the endpoint in repr, traces and cache keys; nothing is sent there
_ENGINE_PROCESS = "http://engine-process"  # likewise; the port is known only once the engine runs
_KEY_FILE = "embedded.key"


def embedded(
    judge: Any = None,
    *,
    jobs: bool = False,
    generator: str | None = None,
    generator_prices: Mapping[str, float] | None = None,
    data_dir: str | PathLike[str] | None = None,
    settings: EngineSettings | None = None,
    timeout: float | None = None,
    max_concurrency: int | None = None,
    retry: RetryPolicy | None = None,
    unscored: UnscoredPolicy | None = None,
    limiter: Limiter | None = None,
    cache: ResultCache | None = None,
) -> Embedded:
    """A context manager, sync and async, that gives a client over an engine of your own.

    Without `jobs`, the engine is the app that `pi-integrations serve` serves, in this process, on the background loop.
    With `jobs`, it is a process of its own: started here, stopped with the client, and gone when this process is,
    however it ends. Its jobs are kept, and continue with the next engine on the same `data_dir`.

    `with` gives a `PiClient`, `async with` an `AsyncPiClient`. For a client that lives as long as the process, use
    `.client()` or `.async_client()`.

    Args:
        judge: `baseline`, `chat:PROVIDER:MODEL`, `local:PATH_OR_NAME`, `object:MODULE:NAME`, a LangChain chat model, or
            a `Judge`; default: that of `settings`, else `PI_ENGINE_JUDGE`, else `baseline`. With `jobs`, a string.
        jobs: Whether the engine runs jobs.
        generator: Makes synthetic data, with `jobs`: `chat:PROVIDER:MODEL`, or `object:MODULE:NAME` of a LangChain chat
            model; default `PI_ENGINE_GENERATOR`, else none.
        generator_prices: US dollars per million tokens of the generator, as `{"input_per_million": ..,
            "output_per_million": ..}`.
        data_dir: Where jobs are kept; default `PI_ENGINE_DATA_DIR`, else `pi-integrations` in the user's data
            directory. All engines on one directory share its jobs: give them the same generator.
        settings: Everything else about the engine; default: the environment's `PI_ENGINE_*`.
        timeout: See `AsyncPiClient`; so are the arguments after it.

    Raises:
        ImportError: when the `engine` extra, or the judge's, is not installed.
        PiUsageError: when `judge` is not a judge and names none, or cannot be used with `jobs`.

    Example:
        ```python
        with embedded(judge="baseline") as client:
            scores = client.scoring_system.score(
                llm_input="Where is my order?",
                llm_output="It left our warehouse this morning.",
                scoring_spec=[{"question": "Does the answer say where the order is?"}],
            )
        ```
    """
    values = {"timeout": timeout, "max_concurrency": max_concurrency, "retry": retry, "unscored": unscored}
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if jobs:
        connect, client_settings = _own_process(judge, generator, generator_prices, data_dir, settings, given)
    elif generator is not None or generator_prices is not None or data_dir is not None:
        raise PiUsageError("generator, generator_prices and data_dir are for jobs; give jobs=True with them")
    else:
        connect, client_settings = _in_process(judge, settings), ClientSettings(base_url=_IN_PROCESS, **given)
    client = AsyncPiClient.over(connect, client_settings, limiter=limiter, cache=cache)
    return Embedded(client, in_process=not jobs)


class Embedded:
    """What `embedded` returns: a context manager, sync and async, around a client and its engine."""

    def __init__(self, client: AsyncPiClient, *, in_process: bool = True) -> None:
        self._client = client
        self._in_process = in_process

    def client(self) -> PiClient:
        """The sync client, without a `with`; its engine stops with `close`, or with the process."""
        return PiClient(client=self._client)

    def async_client(self) -> AsyncPiClient:
        """The async client, without an `async with`; its engine stops with `aclose`, or with the process."""
        return self._client

    async def _start(self) -> None:
        """Starts an engine process, so that its errors are raised where it was requested."""
        if not self._in_process:
            await self._client._connections.run(_started)

    def __enter__(self) -> PiClient:
        loop_thread().run(self._start())
        return self.client()

    def __exit__(self, *error: object) -> None:
        self.client().close()

    async def __aenter__(self) -> AsyncPiClient:
        await self._start()
        return self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


async def _started(channel: Channel) -> None:
    assert isinstance(channel, EngineProcessChannel)
    await channel.start()


def _in_process(judge: Any, settings: EngineSettings | None) -> Callable[[], Channel]:
    try:
        from pi_integrations.engine.app import create_app
        from pi_integrations.engine.judges.choose import choose_judge
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise _no_engine(error) from error
    settings = settings or EngineSettings.from_env()
    # Nothing outside this process reaches the engine, so it needs no keys.
    settings = replace(settings, judge=settings.judge if judge is None else judge, api_keys=())
    # Chosen here too, so that a wrong judge is an error of this call, not of the first request.
    choose_judge(settings.judge)
    return lambda: InProcessChannel(lambda: create_app(settings))


def _own_process(
    judge: Any,
    generator: str | None,
    prices: Mapping[str, float] | None,
    data_dir: str | PathLike[str] | None,
    settings: EngineSettings | None,
    given: Mapping[str, Any],
) -> tuple[Callable[[], Channel], ClientSettings]:
    try:
        from pi_integrations.engine.jobs.settings import JobSettings
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise _no_engine(error) from error
    settings = settings or EngineSettings.from_env()
    jobs = settings.jobs or JobSettings.from_env()
    values = {"judge": judge, "generator": generator, "generator_prices": dict(prices) if prices else None}
    changed = {name: value for name, value in values.items() if value is not None}
    # Absolute: an engine started later must find the jobs even if this process has changed its directory.
    folder = (Path(data_dir) if data_dir else jobs.data_dir).expanduser().absolute()
    settings = replace(settings, jobs=replace(jobs, data_dir=folder), **changed)
    _check_string("judge", settings.judge, "baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME or object:MODULE:NAME")
    _check_string("generator_embeddings", settings.generator_embeddings, "object:MODULE:NAME")
    _check_string("generator", settings.generator, "chat:PROVIDER:MODEL or object:MODULE:NAME")
    key = _owner_key(folder)
    # Every user of this machine can connect to loopback, so the engine asks for the key.
    engine = replace(settings, host="127.0.0.1", port=0, api_keys=(key,))
    client = ClientSettings(base_url=_ENGINE_PROCESS, api_key=key, **given)
    return lambda: EngineProcessChannel(engine, max_connections=client.max_concurrency), client


def _check_string(name: str, value: Any, ways: str) -> None:
    if not isinstance(value, str | None):
        raise PiUsageError(
            f"{name} is a {type(value).__name__}; with jobs=True the engine is a process of its own, which cannot use"
            f" objects of this one: give {ways}. object:MODULE:NAME is imported there"
        )


def _no_engine(error: ImportError) -> ImportError:
    """`error`, raised while the engine was imported, with the pip command."""
    return ImportError(
        f"an engine of your own needs {error.name}; run: pip install 'pi-integrations[engine]'", name=error.name
    )


def _owner_key(data_dir: Path) -> SecretStr:
    """The API key of embedded engines on `data_dir`: random, made by the first one, readable by this user alone.

    It is kept, so that the jobs of one engine belong to the next.
    """
    path = data_dir / _KEY_FILE
    try:
        with suppress(FileNotFoundError):
            return _read_key(path)
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise PiUsageError(f"cannot use {path}: {error.strerror}; give another data_dir") from None


def _read_key(path: Path) -> SecretStr:
    key = path.read_text(encoding="ascii", errors="replace").strip()
    if len(key) < 32 or not key.isalnum():
        raise PiUsageError(f"{path} holds no key; remove it, and a new one is made (jobs of the old one stay with it)")
    return SecretStr(key)


def _make_key(path: Path) -> None:
    """Writes a key atomically, unless another process already has."""
    draft = path.with_name(f"{_KEY_FILE}.{secrets.token_hex(8)}")
    # Private from the start: between creating it and a later chmod, others could read the key.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        with suppress(FileExistsError):
            # Unlike a rename, a link never replaces the key of another process.
            os.link(draft, path)
    finally:
        draft.unlink()
