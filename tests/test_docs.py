"""What README, `docs/` and docstrings show runs as it stands, with no network; and they name all there is to name."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
import typer
import uvicorn
import yaml
from doc_blocks import Block, blocks_of, commands_in, docstrings_of, fences_in

import pi_integrations
from pi_integrations import ClientSettings, RetryPolicy
from pi_integrations.cli.app import app
from pi_integrations.engine import EngineSettings, create_app
from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.judges.chat_model import ChatModelJudge
from pi_integrations.engine.judges.local import LocalJudge
from pi_integrations.engine.scoring.code_questions import CodeLimits
from pi_integrations.models import parse_spec

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "cookbook" / "support_desk"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_TEXT = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", SAMPLE / "README.md"]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pi_integrations.__path__, "pi_integrations.")
    if not module.name.endswith("__main__")
)

# Docstring examples that cannot run here, with the reason. Everything else does.
NOT_RUN = {"pi_integrations.engine.judges.local.judge.LocalJudge": "needs a model's weights"}
# Public names that no reference page shows, with the reason.
NOT_SHOWN = {
    "pi_integrations.__version__": "a string; the page says what it is",
    "pi_integrations.background.Tally": "a helper of our own handlers",
    "pi_integrations.background.WarnOnce": "a helper of our own handlers",
}
PUBLIC = [
    "",
    ".client",
    ".models",
    ".errors",
    ".langchain",
    ".llama_index",
    ".background",
    ".datasets",
    ".engine",
    ".presets",
    ".testing",
]

pytestmark = [
    # LangSmith says so of the one argument that keeps an evaluation on this machine, upload_runs since 0.15.1.
    pytest.mark.filterwarnings("ignore:'upload_(results|runs)' parameter is in beta"),
    # LlamaIndex's BatchEvalRunner calls a function that LlamaIndex has deprecated.
    pytest.mark.filterwarnings("ignore:asyncio_module"),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections beyond this machine raise."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"an example connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    """A real engine behind uvicorn, for examples that take their endpoint from the environment."""
    config = uvicorn.Config(create_app(EngineSettings()), port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, holding what `cookbook/support_desk` holds."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled(source: str, place: str) -> CodeType:
    code: CodeType = compile(source, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


def run(code: CodeType, namespace: dict[str, Any], loop: asyncio.Runner) -> None:
    """Runs a block, awaiting what it awaits, and then the tests that it defines."""
    before = set(namespace)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        loop.run(result)
    for name in [name for name in namespace if name.startswith("test_") and name not in before]:
        namespace[name]()


def pages_with(*languages: str) -> list[Any]:
    return [pytest.param(page, id=page.name) for page in PAGES if blocks_of(page, *languages)]


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, sample: Path) -> None:
    """In one namespace, as a reader would type it; what says that it cannot be run is compiled."""
    module = ModuleType("page")
    with asyncio.Runner() as loop, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "page", module)
        for block in blocks_of(page, "python"):
            code = compiled(block.as_file, block.place)
            if block.runs:
                run(code, vars(module), loop)


def installs(block: Block) -> bool:
    return "pip install" in block.code


@pytest.mark.parametrize("page", pages_with("bash"))
def test_the_shell_of_a_page_runs_from_top_to_bottom(page: Path, sample: Path) -> None:
    """In a copy of the sample's folder, with the exit status that the page says."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in blocks_of(page, "bash"):
        if block.runs and not installs(block):
            command = ["bash", "-euo", "pipefail", "-c", block.code]
            done = subprocess.run(command, env=os.environ | {"PATH": tools}, capture_output=True, text=True)
            assert done.returncode == int(block.directives.get("exits", 0)), f"{block.code}\n{done.stderr}"


def shell_in(page: Path) -> list[str]:
    """Shell blocks, and the steps of workflows."""
    workflows = [yaml.safe_load(block.code) for block in blocks_of(page, "yaml")]
    jobs = [job for flow in workflows if isinstance(flow, dict) for job in flow.get("jobs", {}).values()]
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return [*(block.code for block in blocks_of(page, "bash")), *steps]


def leaf(command: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` name, below any groups, and the rest of them."""
    while hasattr(command, "commands") and words:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def leaves(command: Any) -> Iterator[Any]:
    """Every command below any groups."""
    if not hasattr(command, "commands"):
        yield command
    for each in getattr(command, "commands", {}).values():
        yield from leaves(each)


@pytest.mark.parametrize("page", ALL_TEXT, ids=lambda page: page.name)
def test_commands_are_given_options_that_exist(page: Path) -> None:
    """Also those that cannot be run here, and those in running text."""
    group: Any = typer.main.get_command(app)
    for shell in shell_in(page):
        for words in commands_in(shell):
            command, arguments = leaf(group, words)
            command.make_context(command.name, arguments)
    for words in commands_in("\n".join(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))):
        command, arguments = leaf(group, words)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= known


def test_extras_that_are_named_exist() -> None:
    """In every `pip install 'pi-integrations[…]'` of a page, and in those that errors give."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    sources = [*ALL_TEXT, *(ROOT / "pi_integrations").rglob("*.py")]
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    named = re.findall(r"pip install [^\n]*?(?:pi-integrations|'\.)\[([\w,-]+)\]", text)
    assert named
    assert {extra for names in named for extra in names.split(",")} <= extras.keys()


@pytest.mark.parametrize("page", pages_with("json", "yaml"))
def test_data_of_a_page_parses(page: Path) -> None:
    """And a list of questions is a spec."""
    for block in blocks_of(page, "json", "yaml"):
        value = json.loads(block.code) if block.language == "json" else yaml.safe_load(block.code)
        if isinstance(value, list):
            parse_spec(value)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_hold(name: str, engine_url: str, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `>>>` gives what it says, and each Python block runs, against an engine behind a port if it asks for one."""
    monkeypatch.setenv("PI_CLIENT_BASE_URL", engine_url)
    module = importlib.import_module(name)
    docstrings = docstrings_of(module)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        skipped = any(example.options.get(doctest.SKIP) for example in test.examples)
        assert skipped == (test.name in NOT_RUN)
        runner.run(test)
    assert not runner.failures
    assert sum(len(test.examples) for test in tests) == sum(text.count(">>> ") for text in docstrings.values())
    with asyncio.Runner() as loop:
        for place, text in docstrings.items():
            for block in fences_in(text, place):
                run(compiled(block.code, place), dict(vars(module)), loop)


def shown() -> list[Any]:
    """The objects that reference pages show."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    paths = [path for page in pages for path in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.M)]
    return [getattr(importlib.import_module(path.rpartition(".")[0]), path.rpartition(".")[2]) for path in paths]


@pytest.mark.parametrize("room", PUBLIC, ids=lambda room: room or "top")
def test_the_reference_shows_every_public_name(room: str) -> None:
    """Under one path or another."""
    module = importlib.import_module(f"pi_integrations{room}")
    documented = shown()
    missing = {name for name in module.__all__ if not any(getattr(module, name) is each for each in documented)}
    assert {f"{module.__name__}.{name}" for name in missing} == {
        name for name in NOT_SHOWN if name.rpartition(".")[0] == module.__name__
    }


def page_text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "settings"),
    [
        ("client.md", ClientSettings),
        ("client.md", RetryPolicy),
        ("engine.md", EngineSettings),
        ("engine.md", JobSettings),
        ("scoring.md", CodeLimits),
        ("judges.md", ChatModelJudge),
        ("judges.md", LocalJudge),
    ],
)
def test_a_page_names_every_setting(page: str, settings: type) -> None:
    """So that a new one is not forgotten."""
    names = [field.name for field in fields(settings)] if hasattr(settings, "__dataclass_fields__") else []
    names += [] if names else list(inspect.signature(settings).parameters)[1:]
    assert [name for name in names if f"`{name}`" not in page_text(page)] == []


def test_the_shell_page_names_every_option() -> None:
    """Of every command."""
    group: Any = typer.main.get_command(app)
    options = {parameter.opts[0] for command in leaves(group) for parameter in command.params}
    missing = {option for option in options - {"--help"} if f"`{option}`" not in page_text("cli.md")}
    assert {option for option in missing if option.startswith("--")} == set()
