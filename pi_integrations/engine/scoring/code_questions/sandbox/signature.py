"""The signature of a user's `score`, read from the source without running it."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from functools import lru_cache

from pi_integrations.engine.scoring.code_questions.sandbox.refusal import Refusal

__all__ = ["USAGE", "Signature", "read_signature"]

USAGE = "define it at the top level as score(response_text, input_text, kwargs)"
_TEXTS = {"response_text", "input_text"}


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a `score` function.

    Attributes:
        positional: Names of the parameters before any `*`, in order.
        positional_only: How many of them take no keyword.
        keyword_only: Names of the parameters after a `*`.
        required: Names of those without a default.
        rest: Whether there is a `**` parameter.
    """

    positional: tuple[str, ...]
    positional_only: int
    keyword_only: tuple[str, ...]
    required: frozenset[str]
    rest: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that has a name of its own."""
        return self.positional + self.keyword_only

    @property
    def dictionary(self) -> str | None:
        """The parameter that takes all further arguments as one dict.

        It is the one called `kwargs`, else a third positional one without a default where there is no `**`.
        """
        if "kwargs" in self.names:
            return "kwargs"
        third = self.positional[2] if len(self.positional) == 3 else None
        return third if third in self.required and not self.rest else None

    @property
    def takes_further(self) -> bool:
        """Whether anything but the two texts can reach the function."""
        return self.rest or self.dictionary is not None or len(self.names) > 2 or bool(set(self.names) - _TEXTS)


@lru_cache(maxsize=64)
def read_signature(source: str) -> Signature:
    """The signature of the last `def score` at the top level of `source`.

    Raises:
        Refusal: when there is none, or the source cannot be parsed, with the line.
    """
    functions = [node for node in _parse(source).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [node for node in functions if node.name == "score"]
    if not found:
        raise Refusal(f"python_code does not define score; {USAGE}")
    if isinstance(found[-1], ast.AsyncFunctionDef):
        raise Refusal(f"python_code, line {found[-1].lineno}: score is async; make it a plain def")
    return _signature(found[-1].args)


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise Refusal(f"python_code{where}: {type(error).__name__}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise Refusal("python_code nests its expressions too deep to be read; simplify it") from None
    except ValueError as error:
        raise Refusal(f"python_code cannot be read: {error}") from None


def _signature(arguments: ast.arguments) -> Signature:
    positional = tuple(argument.arg for argument in arguments.posonlyargs + arguments.args)
    keyword_only = tuple(argument.arg for argument in arguments.kwonlyargs)
    without_default = positional[: len(positional) - len(arguments.defaults)]
    defaults = zip(keyword_only, arguments.kw_defaults, strict=True)
    return Signature(
        positional=positional,
        positional_only=len(arguments.posonlyargs),
        keyword_only=keyword_only,
        required=frozenset(without_default) | {name for name, default in defaults if default is None},
        rest=arguments.kwarg is not None,
    )
