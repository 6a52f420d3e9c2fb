"""pi_integrations.llama_index as a package: lazy, clear when LlamaIndex is missing, and alive after a fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pi_integrations.llama_index


def run_script(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_resolves() -> None:
    """`__all__`, `dir` and the attributes agree."""
    names = pi_integrations.llama_index.__all__
    assert dir(pi_integrations.llama_index) == names
    assert all(getattr(pi_integrations.llama_index, name).__name__ == name for name in names)


def test_without_llama_index_the_error_gives_the_command() -> None:
    """Importing the package needs nothing; using it says what to install."""
    out = run_script(
        """
import sys
import pi_integrations.llama_index
assert "llama_index" not in sys.modules
sys.modules["llama_index"] = None
for name in pi_integrations.llama_index.__all__:
    try:
        getattr(pi_integrations.llama_index, name)
    except ImportError as error:
        assert f"pi_integrations.llama_index.{name} needs LlamaIndex" in str(error), error
        print(str(error).partition("run: ")[2])
"""
    )
    assert out.splitlines() == ["pip install 'pi-integrations[llama-index]'"] * len(pi_integrations.llama_index.__all__)


def test_handlers_and_evaluators_work_in_a_forked_child() -> None:
    """A server that forks workers after it has scored: parent and child score their own answers."""
    out = run_script(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
        """
import os
from in_memory_engines import query_engine
from pi_integrations.background import BackgroundScorer
from pi_integrations.llama_index import PiEvaluator, PiInstrumentationHandler
from pi_integrations.testing import scripted_client

rubric = [{"question": "Is the answer polite?"}]
with scripted_client(default=0.5) as client:
    scorer = BackgroundScorer(rubric, client=client)
    handler = PiInstrumentationHandler(scorer).install()
    evaluator = PiEvaluator(rubric, client=client)

    def work(name):
        query_engine().query("How long?")
        assert evaluator.evaluate("How long?", "A week.").score == 0.5
        assert scorer.flush(20)
        print(name, handler.counts().submitted, scorer.counts().scored, flush=True)

    work("parent")
    child = os.fork()
    if child == 0:
        work("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    work("parent")
    scorer.close()
"""
    )
    assert out.splitlines() == ["parent 1 1", "child 1 1", "parent 2 2"]
