"""What the job benchmarks and the tests that kill share: a model that counts, worker processes, and what they made."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import sqlalchemy as sa

__all__ = ["Kept", "Model", "Worker", "model_server", "percentile", "wait_until", "worker"]

_WORKER = Path(__file__).with_name("_job_worker.py")


@dataclass
class Model:
    """Counts the calls of each key; `before(key)` runs at every call, ahead of the answer."""

    url: str = ""
    latency: tuple[float, float] = (0.015, 0.045)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    before: Callable[[str], None] = lambda key: None
    last: float = 0.0

    @property
    def calls(self) -> int:
        """How often it was asked anything."""
        return sum(self.asked.values())

    def answer(self, key: str) -> bytes:
        """The answer for a key, after a while; another one each time it is asked."""
        self.before(key)
        self.asked[key] += 1
        self.last = time.monotonic()
        time.sleep(random.uniform(*self.latency))
        return json.dumps(f"{key}#{self.asked[key]}").encode()


@contextmanager
def model_server(latency: tuple[float, float] = (0.015, 0.045)) -> Iterator[Model]:
    """A model in threads of this process."""
    model = Model(latency=latency)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = self.path.strip("/")
            body = model.answer(key)
            try:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return
            model.answered[key] += 1

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    model.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


class Worker:
    """A worker process, being started."""

    def __init__(self, *options: str) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(_WORKER), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def jobs(self) -> list[str]:
        """The jobs it submitted; waits until it works."""
        assert self.process.stdout is not None
        found = []
        for line in self.process.stdout:
            if line.strip() == "ready":
                return found
            found.append(line.split()[1])
        raise AssertionError(f"the worker ended with {self.process.wait()} before it was ready")

    def end(self) -> None:
        """Kills what is left of it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def worker(*options: str) -> Iterator[Worker]:
    """A worker process, killed at the end."""
    process = Worker(*options)
    try:
        yield process
    finally:
        process.end()


class Kept:
    """What the job database holds, read from outside."""

    def __init__(self, data_dir: Path, database: str = "") -> None:
        url = database.replace("postgresql://", "postgresql+psycopg://") or f"sqlite:///{data_dir / 'jobs.sqlite'}"
        self._engine = sa.create_engine(url, pool_size=20, connect_args={} if database else {"timeout": 30})

    def ask(self, query: str, **values: Any) -> list[Any]:
        """The rows of a query."""
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query), values))

    def rows(self, job_id: str) -> list[dict[str, Any]]:
        """The job's rows, in order."""
        query = "SELECT line FROM pi_job_lines WHERE job_id = :job AND stream = 'data' ORDER BY sequence"
        return [json.loads(row.line) for row in self.ask(query, job=job_id)]

    def messages(self, job_id: str) -> list[str]:
        """The job's messages, in order."""
        query = "SELECT line FROM pi_job_lines WHERE job_id = :job AND stream = 'messages' ORDER BY sequence"
        return [row.line for row in self.ask(query, job=job_id)]

    def job(self, job_id: str) -> Any:
        """The job's row."""
        return self.ask("SELECT * FROM pi_jobs WHERE job_id = :job", job=job_id)[0]

    def states(self) -> list[str]:
        """The states of all jobs."""
        return [row.state for row in self.ask("SELECT state FROM pi_jobs")]

    def has_recorded(self, key: str) -> bool:
        """Whether the answer to a call of the counting family, `JOB/BATCH`, is on disk: recorded, or in its rows."""
        job_id, _, batch = key.partition("/")
        kept = self.ask(
            "SELECT 1 FROM pi_job_answers WHERE job_id = :job AND key = :key", job=job_id, key=f"batch-{batch}"
        )
        if kept:
            return True
        progress = self.ask("SELECT progress FROM pi_jobs WHERE job_id = :job", job=job_id)[0].progress
        return progress is not None and json.loads(progress)["next"] > int(batch)

    def close(self) -> None:
        """Closes its connections."""
        self._engine.dispose()


def wait_until(condition: Callable[[], Any], *, seconds: float = 30.0, every: float = 0.02) -> float:
    """Seconds until `condition` was true.

    Raises:
        AssertionError: when it was not in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s")
        time.sleep(every)
    return time.monotonic() - began


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of them lies; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
