"""Fixtures for every test: the real engine in process, with a judge that answers from a table."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient
from pi_integrations.testing import ScriptedJudge, embedded

# Shells start background jobs with Ctrl-C ignored, and the processes that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a test takes says something about the machine, and nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's own endpoint, key, jobs or tracing."""
    for name in ("WITHPI_API_KEY", "PI_CLIENT_BASE_URL", "PI_ENGINE_JUDGE", "PI_ENGINE_API_KEYS", "PI_ENGINE_UNSCORED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GENERATOR", "DATABASE_URL", "WEBHOOK_HOSTS", "WEBHOOK_SECRET", "RETENTION_DAYS"):
        monkeypatch.delenv(f"PI_ENGINE_{name}", raising=False)
    monkeypatch.setenv("PI_ENGINE_DATA_DIR", str(tmp_path / "pi-data"))
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
