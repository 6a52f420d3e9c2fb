"""Kills an engine again and again while it works on a job, and counts what was lost, doubled or asked for twice.

    python benchmarks/job_kills.py [--kills 200] [--items 500] [--database URL | --postgres]

The model is an HTTP server in this process that answers after 15 to 45 ms and counts its calls; the engine is another
process, killed with SIGKILL at random moments (a quarter of them while it is still starting) and started again. When a
job is done before all kills, the next one begins. Aims: nothing lost, nothing doubled, order kept, no recorded answer
asked for again. Exits with 1 when one of these is missed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _jobs import Kept, Model, Worker, model_server, percentile, wait_until
from _postgres import private_postgres
from _tables import print_table


@dataclass
class Run:
    """One run of the benchmark."""

    model: Model
    data_dir: Path
    database: str
    items: int
    kept: Kept
    again: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def start(self) -> Worker:
        """An engine with the current job submitted, whether it is there already or not."""
        submit = f"job-{len(self.jobs)}:{self.items}"
        options = ["--data-dir", str(self.data_dir), "--model", self.model.url, "--submit", submit]
        return Worker(*options, *(["--database", self.database] if self.database else []))

    def watch(self, key: str) -> None:
        """Notes a call for an answer that is on disk."""
        if self.model.asked[key] and self.kept.has_recorded(key):
            self.again.append(key)

    def kill_once(self) -> None:
        """Starts an engine and kills it, early or at work."""
        engine = self.start()
        try:
            if random.random() < 0.25:
                time.sleep(random.uniform(0.3, 2.0))
            else:
                self.restarts.append(self._until_it_works(engine))
                time.sleep(random.uniform(0.0, 0.25))
        finally:
            engine.end()

    def finish(self) -> None:
        """Lets an engine end the current job."""
        engine = self.start()
        try:
            self.jobs.append(engine.jobs()[0])
            wait_until(lambda: self.kept.job(self.jobs[-1]).finished is not None, seconds=120, every=0.1)
        finally:
            engine.end()

    def _until_it_works(self, engine: Worker) -> float:
        job = engine.jobs()[0]
        wait_until(lambda: self.model.last > engine.began or self.kept.job(job).finished is not None, every=0.005)
        if self.kept.job(job).finished is not None:
            self.jobs.append(job)
        return time.monotonic() - engine.began


def report(run: Run, kills: int) -> bool:
    """Prints the figures; whether all aims were met."""
    rows = {job: [row["n"] for row in run.kept.rows(job)] for job in run.jobs}
    lost = sum(len(set(range(run.items)) - set(numbers)) for numbers in rows.values())
    doubled = sum(len(numbers) - len(set(numbers)) for numbers in rows.values())
    ordered = all(numbers == sorted(numbers) for numbers in rows.values())
    done = all(run.kept.job(job).state == "DONE" for job in run.jobs)
    print_table(
        f"{kills} kills, {len(run.jobs)} jobs of {run.items} items, {'Postgres' if run.database else 'SQLite'}",
        ["what", "count"],
        [
            ("items lost", f"{lost}"),
            ("items doubled", f"{doubled}"),
            ("order kept", "yes" if ordered else "no"),
            ("recorded answers asked for again", f"{len(run.again)}"),
            ("model calls", f"{run.model.calls}"),
            ("of them again, in flight at a kill", f"{run.model.calls - len(run.model.asked) - len(run.again)}"),
            ("start to working, p50 s", f"{percentile(run.restarts, 0.5):.2f}"),
            ("start to working, p99 s", f"{percentile(run.restarts, 0.99):.2f}"),
        ],
    )
    return done and ordered and not (lost or doubled or run.again)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--database", default="")
    parser.add_argument("--postgres", action="store_true", help="on a Postgres of its own")
    options = parser.parse_args()
    with ExitStack() as stack:
        database = stack.enter_context(private_postgres()).url if options.postgres else options.database
        data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pi-kills-")))
        kept = Kept(data_dir, database)
        stack.callback(kept.close)
        run = Run(stack.enter_context(model_server()), data_dir, database, options.items, kept)
        run.model.before = run.watch
        for _ in range(options.kills):
            run.kill_once()
        run.finish()
        if not report(run, options.kills):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
