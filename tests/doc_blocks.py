"""Code blocks of Markdown pages, docstrings of modules, and commands in shell text: what the docs tests execute."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import ModuleType

__all__ = ["Block", "blocks_of", "commands_in", "docstrings_of", "fences_in"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_DIRECTIVE = re.compile(r"<!-- (no-run|exits): (.+?) -->\s*\Z")
_COMMAND = re.compile(r"(?:^|[\s/])pi-integrations +(.*)$", re.MULTILINE)
_OPERATORS = {"&&", "||", "|", ";", ">", ">>", "&", "<"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `directives` are what the HTML comment before it says."""

    place: str
    line: int
    language: str
    code: str
    directives: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether nothing before it says that it cannot be run."""
        return "no-run" not in self.directives

    @property
    def as_file(self) -> str:
        """The code below as many empty lines as stand before it in its file, so that tracebacks name the right line."""
        return "\n" * self.line + self.code


def fences_in(text: str, place: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in order."""
    for match in _FENCE.finditer(text):
        directives = _DIRECTIVE.findall(text[: match.start()])
        line = text.count("\n", 0, match.start("code"))
        yield Block(place, line, match["language"], textwrap.dedent(match["code"]), dict(directives))


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages."""
    return [block for block in fences_in(page.read_text(encoding="utf-8"), str(page)) if block.language in languages]


def docstrings_of(module: ModuleType) -> dict[str, str]:
    """Every docstring in the source of `module`, by qualified name."""
    found: dict[str, str] = {}

    def collect(node: ast.AST, name: str) -> None:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                found[name] = text
            for child in node.body:
                collect(child, f"{name}.{getattr(child, 'name', '')}")

    collect(ast.parse(inspect.getsource(module)), module.__name__)
    return found


def commands_in(shell: str) -> list[list[str]]:
    """The arguments of every `pi-integrations` command in a piece of shell."""
    joined = shell.replace("\\\n", " ")
    return [_arguments(match[1]) for match in _COMMAND.finditer(joined)]


def _arguments(rest: str) -> list[str]:
    words = shlex.shlex(rest, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return list(takewhile(lambda word: word not in _OPERATORS, words))
