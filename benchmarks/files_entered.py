"""How many files of the package one piece of work passes through: fewer files are fewer places to read.

    python benchmarks/files_entered.py [--list]

A file counts once, when one of its functions is called while the work runs, on any thread; importing it does not count.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from _tables import print_table

import pi_integrations
from pi_integrations import embedded
from pi_integrations.cli import main as shell
from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.langchain import PiScorer, PiSyntheticDataLoader
from pi_integrations.testing import ScriptedJudge

PACKAGE = str(Path(pi_integrations.__file__).parent) + os.sep
SPEC = [{"question": "Is it polite?", "label": "Polite"}]
ROWS = '{"llm_input": "Where is my order?", "llm_output": "It left this morning."}\n' * 2


class Entered:
    """Collects the files whose functions are called, on this thread and on every thread started after it."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._counting = False
        threading.setprofile(self._hook)
        sys.setprofile(self._hook)

    def _hook(self, frame: FrameType, event: str, _: Any) -> None:
        if self._counting and event == "call" and frame.f_code.co_name != "<module>":
            self._files.add(frame.f_code.co_filename)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts anew, while the block runs."""
        self._files = set()
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    @property
    def of_package(self) -> list[str]:
        """The package's files of the latest count, as paths below it."""
        return sorted(file.removeprefix(PACKAGE) for file in self._files if _is_ours(file))


def _is_ours(file: str) -> bool:
    # Compiled templates have file names too.
    return file.startswith(PACKAGE) and file.endswith(".py")


def score_in_a_chain(entered: Entered) -> None:
    """One warm `PiScorer.invoke` in process."""
    exchange: Any = {"llm_input": "Where is my order?", "llm_output": "It left this morning."}
    with embedded(judge=ScriptedJudge(default=0.7)) as client:
        scorer = PiScorer(SPEC, client=client)
        scorer.invoke({**exchange, "llm_output": "Warm."})
        with entered.counting():
            scorer.invoke(exchange)


def pair_from_route_to_loader(entered: Entered) -> None:
    """One generated pair: its job is started, an engine makes it, a loader gives it."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = JobSettings(data_dir=Path(folder))
        settings = EngineSettings(judge=ScriptedJudge(default=0.7), jobs=jobs, generator=ScriptedGenerator())
        with embedded(settings=settings) as client:
            client.data.generate_input_response_pairs.list()
            loader = PiSyntheticDataLoader(client=client, start={"num_pairs_to_generate": 1, "seeds": []})
            with entered.counting():
                assert len(loader.load()) == 1


def score_a_file_in_the_shell(entered: Entered) -> None:
    """`pi-integrations score` of two rows with the baseline judge."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_text(ROWS)
        (folder / "spec.json").write_text(json.dumps(SPEC))
        sys.argv = ["pi-integrations", "score", str(folder / "rows.jsonl"), "--spec", str(folder / "spec.json")]
        sys.argv += ["--judge", "baseline", "--output", str(folder / "scores.jsonl")]
        sys.argv += ["--report", str(folder / "report.html")]
        shown = io.TextIOWrapper(io.BytesIO())
        with redirect_stdout(shown), redirect_stderr(shown), suppress(SystemExit), entered.counting():
            shell()
        assert (folder / "report.html").exists()


@dataclass(frozen=True)
class Work:
    """A piece of work, and the most files it should pass through."""

    title: str
    run: Callable[[Entered], None]
    aim: int


WORKS = (
    Work("PiScorer.invoke, in process", score_in_a_chain, 26),
    Work("a generated pair, route to loader", pair_from_route_to_loader, 50),
    Work("the shell's score of a file", score_a_file_in_the_shell, 50),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the files")
    options = parser.parse_args()
    entered = Entered()
    rows = []
    for work in WORKS:
        work.run(entered)
        files = entered.of_package
        rows.append([work.title, str(len(files)), str(work.aim), "yes" if len(files) <= work.aim else "no"])
        if options.list:
            print(f"\n{work.title}")
            print("\n".join(f"  {file}" for file in files))
    print_table("Files of the package entered", ["work", "files", "aim", "within"], rows)


if __name__ == "__main__":
    main()
