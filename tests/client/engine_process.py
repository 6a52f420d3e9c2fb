"""A real engine with jobs in a process of its own, on a port that stays the same, to be killed and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

SCRIPT = """
import sys
from pathlib import Path
from pi_integrations.engine import EngineSettings, create_app
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.local.server import EngineServer

data_dir, port, latency = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
jobs = JobSettings(data_dir=data_dir, beat_seconds=0.2, silence_seconds=1.0)
settings = EngineSettings(jobs=jobs, generator=ScriptedGenerator(latency=latency))
app = create_app(settings)
EngineServer(app, drain_seconds=5, on_started=lambda: None, port=port, log_level="error", ws="none").run()
"""


class EngineProcess:
    """`latency` is the seconds that its model takes for an answer."""

    def __init__(self, data_dir: Path, *, latency: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-c", SCRIPT, str(data_dir), str(port), str(latency)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and does not wait until it answers."""
        self._process = subprocess.Popen(self._command, env={**os.environ, "PYTHONWARNINGS": "ignore"})

    def wait(self) -> None:
        """Until it answers."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError("the engine did not start")

    def kill(self) -> None:
        """As `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """As Ctrl+C."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)


@contextmanager
def engine_process(data_dir: Path, *, latency: float = 0.0) -> Iterator[EngineProcess]:
    """An engine that answers."""
    engine = EngineProcess(data_dir, latency=latency)
    engine.start()
    try:
        engine.wait()
        yield engine
    finally:
        engine.kill()
