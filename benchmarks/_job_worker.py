"""A worker process for the job benchmarks and tests: one family, whose model is a URL that counts what it is asked.

    python benchmarks/_job_worker.py --data-dir DIR [--database URL] [--model URL] [--submit KEY:ITEMS ...]
        [--concurrency 4] [--silence 5] [--takes-only] [--webhook-host HOST ... --webhook-url URL] [--file-limit BYTES]
        [--artifacts]

With `--takes-only` it takes jobs and works on none. Jobs are submitted with idempotency keys, so a process that starts
again submits nothing new. It prints `ready` when it works, and stops cleanly at SIGTERM. SIGUSR1 lifts the limit that
`--file-limit` put on the size of its files. With `--artifacts` a job also writes a file per batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import signal
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr

from pi_integrations.engine.jobs import FamilyWork, JobSettings, Run
from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.models.families import JobFamily
from pi_integrations.models.jobs import JobStatus

__all__ = ["COUNTING", "CountRequest", "counting_family"]

COUNTING = "/test/counting"


class CountRequest(BaseModel):
    """How many items to make, and how many a call; `url` is the model's."""

    items: int = Field(ge=0)
    batch_size: int = 5
    url: str
    webhook_url: str | None = None
    artifacts: bool = False


async def _work(request: CountRequest, run: Run) -> Mapping[str, Any]:
    done = int((run.progress or {}).get("next", 0))
    for batch in range(done, -(-request.items // request.batch_size)):
        key = f"{run.job_id}/{batch}"

        async def ask(key: str = key) -> Any:
            return await asyncio.to_thread(_ask, f"{request.url}/{key}")

        tag = await run.recorded(f"batch-{batch}", ask)
        first = batch * request.batch_size
        rows = [{"n": n, "tag": tag} for n in range(first, min(first + request.batch_size, request.items))]
        if request.artifacts:
            run.artifacts.path(f"batches/{batch}").write_text(tag)
        await run.commit(rows=rows, messages=[f"batch {batch}"], progress={"next": batch + 1})
    return {"made": request.items}


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.loads(response.read())


def counting_family(concurrency: int, missing: str | None = None) -> FamilyWork[CountRequest]:
    """Makes numbered rows, a model call a batch."""
    family = JobFamily(COUNTING, "counting", CountRequest, JobStatus, dict)
    return FamilyWork(family, _work, missing=missing, concurrency=concurrency)


async def main(options: argparse.Namespace) -> None:
    """Works until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    family = counting_family(options.concurrency, missing="it takes jobs for others" if options.takes_only else None)
    hosts = tuple(options.webhook_host)
    engine = JobEngine(
        JobSettings(
            data_dir=options.data_dir,
            database_url=SecretStr(options.database) if options.database else None,
            beat_seconds=options.silence / 5,
            silence_seconds=options.silence,
            webhook_hosts=hosts,
            webhook_secret=SecretStr("benchmark") if hosts else None,
        ),
        [family],
    )
    await engine.start()
    for each in options.submit:
        key, _, items = each.partition(":")
        request = CountRequest(
            items=int(items), url=options.model, webhook_url=options.webhook_url, artifacts=options.artifacts
        )
        view = await engine.submit(family, request, owner="", idempotency_key=key)
        print("job", view.record.job_id, flush=True)
    print("ready", flush=True)
    await stopped.wait()
    await engine.stop()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--database", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--submit", nargs="*", default=[])
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--silence", type=float, default=5.0)
    parser.add_argument("--takes-only", action="store_true")
    parser.add_argument("--webhook-host", nargs="*", default=[])
    parser.add_argument("--webhook-url")
    parser.add_argument("--file-limit", type=int, default=0)
    parser.add_argument("--artifacts", action="store_true")
    return parser.parse_args()


def _limit_files(size: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    signal.signal(signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    given = _parse()
    if given.file_limit:
        _limit_files(given.file_limit)
    asyncio.run(main(given))
