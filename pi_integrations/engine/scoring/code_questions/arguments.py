"""The arguments of a user's `score`: its signature, read from the source without running it, and what goes where."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

__all__ = ["Refusal", "Signature", "bind", "read_signature"]

_USAGE = "define it at the top level as score(response_text, input_text, kwargs)"
_TEXTS = {"response_text", "input_text"}


class Refusal(Exception):
    """The call has no score; the message is the reason, for the person who wrote the code.

    Attributes:
        retryable: Whether the same call may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


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
        raise Refusal(f"python_code does not define score; {_USAGE}")
    if isinstance(found[-1], ast.AsyncFunctionDef):
        raise Refusal(f"python_code, line {found[-1].lineno}: score is async; make it a plain def")
    return _signature(found[-1].args)


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # Invalid escapes in the user's strings, say; nobody would see them.
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


def bind(
    signature: Signature, response_text: str, input_text: str, kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for a function with this signature.

    The texts go to the parameters of their names, else to the first and the second parameter if those need a value.
    Further arguments are the keys of `kwargs` and, where `response_text` is a JSON object, its keys. They go to the
    dict parameter if there is one; else to the parameters of their names, and to `**`. What has no place is left out.

    Raises:
        Refusal: when a parameter that needs a value gets none, or neither text has a place.
    """
    texts = {"response_text": response_text, "input_text": input_text}
    bound = _place_texts(signature, texts)
    further = _further(signature, response_text, kwargs)
    if signature.dictionary is not None:
        bound[signature.dictionary] = {key: value for key, value in further.items() if key not in texts}
    bound |= {name: further[name] for name in signature.names if name in further and name not in bound}
    _check_complete(signature, bound)
    return _by_position(signature, bound, _spare(signature, further, texts))


def _place_texts(signature: Signature, texts: Mapping[str, str]) -> dict[str, Any]:
    """Which parameter gets which text. A position counts only where the parameter of that text's name is missing."""
    bound: dict[str, Any] = {name: text for name, text in texts.items() if name in signature.names}
    for parameter, (name, text) in zip(signature.positional, texts.items(), strict=False):
        if name not in signature.names and parameter in signature.required - {"kwargs", *texts}:
            bound[parameter] = text
    if not bound and not signature.rest:
        raise Refusal(f"score has no parameter for the response; {_USAGE}")
    return bound


def _further(signature: Signature, response_text: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if not signature.takes_further:
        return {}
    return {**_json_keys(response_text), **kwargs}


def _json_keys(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        keys: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise Refusal("llm_output is JSON that nests too deep for its keys to be handed to score") from None
    except ValueError:
        return {}
    return keys


def _check_complete(signature: Signature, bound: Mapping[str, Any]) -> None:
    missing = [name for name in signature.names if name in signature.required and name not in bound]
    if missing:
        raise Refusal(f"score needs {missing[0]!r}; send it in kwargs, or give the parameter a default")


def _spare(signature: Signature, further: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """What a `**` parameter may take, before the names that are bound already are left out."""
    if not signature.rest:
        return {}
    return {**({} if signature.dictionary else further), **texts}


def _by_position(
    signature: Signature, bound: dict[str, Any], rest: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    leading = signature.positional[: signature.positional_only]
    positional = [bound[name] for name in takewhile(bound.__contains__, leading)]
    keywords = {name: value for name, value in bound.items() if name not in leading}
    spare = {name: value for name, value in rest.items() if name not in bound}
    return positional, keywords | spare
