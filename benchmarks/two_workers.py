"""What a second worker brings: a bag of jobs on Postgres, done by one worker process and by two.

    python benchmarks/two_workers.py [--jobs 16] [--items 50] [--concurrency 4]

The model answers after 150 to 250 ms, a call for every five items. Time runs from the first job's
creation, with all workers ready, to the end of the last. Aim: two workers need at most 0.6 of one worker's time.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from _jobs import Kept, Worker, model_server, wait_until, worker
from _postgres import Postgres, private_postgres
from _tables import print_table


def bag(server: Postgres, workers: int, options: argparse.Namespace) -> float:
    """Seconds that so many workers need for the bag, on a database of its own."""
    database = server.new_database()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pi-bag-")))
        model = stack.enter_context(model_server(latency=(0.15, 0.25)))
        kept = Kept(folder, database)
        stack.callback(kept.close)
        common = ["--data-dir", str(folder), "--database", database, "--model", model.url]
        limit = ["--concurrency", str(options.concurrency)]
        started: list[Worker] = [stack.enter_context(worker(*common, *limit)) for _ in range(workers)]
        for each in started:
            each.jobs()
        submit = [f"job-{number}:{options.items}" for number in range(options.jobs)]
        # Who brings the jobs works on none: it stops as soon as they are on the queue.
        with worker(*common, "--takes-only", "--submit", *submit) as bringer:
            bringer.jobs()
        wait_until(lambda: kept.states().count("DONE") == options.jobs, seconds=600, every=0.1)
        took = kept.ask("SELECT max(finished) - min(created) FROM pi_jobs")
        return float(took[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=4)
    options = parser.parse_args()
    with private_postgres() as server:
        one, two = bag(server, 1, options), bag(server, 2, options)
    print_table(
        f"{options.jobs} jobs of {options.items} items, {options.concurrency} at a time in a worker",
        ["workers", "seconds", "of one"],
        [("1", f"{one:.1f}", "1.00"), ("2", f"{two:.1f}", f"{two / one:.2f}")],
    )


if __name__ == "__main__":
    main()
