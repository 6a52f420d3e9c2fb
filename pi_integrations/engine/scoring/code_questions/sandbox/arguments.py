"""What a user's `score` is called with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from pi_integrations.engine.scoring.code_questions.sandbox.refusal import Refusal
from pi_integrations.engine.scoring.code_questions.sandbox.signature import USAGE, Signature

__all__ = ["bind"]


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
        raise Refusal(f"score has no parameter for the response; {USAGE}")
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
