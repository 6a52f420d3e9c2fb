"""Which exchanges of an application are scored at all: by name and by tag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from pi_integrations.errors import PiUsageError

__all__ = ["ExchangeFilter", "Names", "Tags", "checked_tags"]

Names: TypeAlias = str | Collection[str] | Callable[[str | None], bool]
Tags: TypeAlias = str | Collection[str] | Callable[[Sequence[str]], bool]


class ExchangeFilter:
    """Says whether an exchange is to be scored; without arguments, all are.

    Args:
        names: Names of which the exchange must have one, or a function of its name.
        tags: Tags of which it must have at least one, or a function of its tags.
        exclude_tags: Tags of which it must have none, or a function that says whether its tags rule it out.

    Raises:
        PiUsageError: naming the argument that is none of these.

    Example:
        >>> wanted = ExchangeFilter(names=["support"], exclude_tags=["internal"])
        >>> wanted("support", ["beta"]), wanted("support", ["internal"]), wanted(None, [])
        (True, False, False)
    """

    def __init__(
        self, *, names: Names | None = None, tags: Tags | None = None, exclude_tags: Tags | None = None
    ) -> None:
        self._has_name = _test(names, "names", frozenset.__contains__)
        self._has_tag = _test(tags, "tags", _overlap)
        self._is_excluded = _test(exclude_tags, "exclude_tags", _overlap)

    def __call__(self, name: str | None, tags: Sequence[str]) -> bool:
        """Whether an exchange of this name and these tags is to be scored; raises what a given function raises."""
        if self._has_name is not None and not self._has_name(name):
            return False
        if self._has_tag is not None and not self._has_tag(tags):
            return False
        return self._is_excluded is None or not self._is_excluded(tags)


def _test(given: Any, argument: str, match: Callable[[frozenset[str], Any], bool]) -> Callable[[Any], bool] | None:
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, Collection) or not all(isinstance(word, str) for word in words):
        raise PiUsageError(f"{argument} is a {type(given).__name__}; give strings, or a function that returns a bool")
    return partial(match, frozenset(words))


def _overlap(words: frozenset[str], tags: Sequence[str]) -> bool:
    return not words.isdisjoint(tags)


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """`tags` as a tuple; raises PiUsageError when it is something else than several strings."""
    if isinstance(tags, str):
        raise PiUsageError(f"tags is a string, {tags!r}; give a list of tags: [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise PiUsageError(f"tags is a {type(tags).__name__}; give a list of strings")
    tags = tuple(tags)
    if not all(isinstance(tag, str) for tag in tags):
        raise PiUsageError("tags holds something else than strings; give a list of strings")
    return tags
