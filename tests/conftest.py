"""Fixtures for every test: the real engine in process, with a judge that answers from a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pi_integrations import AsyncPiClient
from pi_integrations.testing import ScriptedJudge, embedded

POLITE = "Is the answer polite?"
CLEAR = "Is the answer clear?"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's own endpoint, key or tracing."""
    for name in ("WITHPI_API_KEY", "PI_CLIENT_BASE_URL", "PI_ENGINE_JUDGE", "PI_ENGINE_API_KEYS", "PI_ENGINE_UNSCORED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.fixture
def judge() -> ScriptedJudge:
    """Answers `POLITE` with .9, `CLEAR` with .4, and nothing else."""
    return ScriptedJudge({POLITE: 0.9, CLEAR: 0.4})


@pytest.fixture
def client(judge: ScriptedJudge) -> Iterator[AsyncPiClient]:
    """An async client over a real engine in this process."""
    given = embedded(judge=judge)
    yield given.async_client()
    given.client().close()
