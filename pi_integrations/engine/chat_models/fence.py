"""The fence around untrusted text: a tag that occurs in none of the texts, and blocks that carry it.

Needs no LangChain: judges that never ask a chat model use it too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Prompt", "block", "random_tags", "seeded_tags", "tags_from", "unused_tag"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The two messages of a request; the system message may be empty."""

    system: str
    user: str

    def __len__(self) -> int:
        return len(self.system) + len(self.user)


def unused_tag(texts: Iterable[str], tags: Iterable[str]) -> str:
    """The first of `tags` that occurs in none of `texts`, in whatever letter case."""
    folded = [text.casefold() for text in texts]
    return next(tag for tag in tags if not any(tag.casefold() in text for text in folded))


def random_tags() -> Iterator[str]:
    """Tags of 128 random bits in hexadecimal."""
    while True:
        yield secrets.token_hex(16)


def seeded_tags(seed: str) -> Iterator[str]:
    """Tags of 128 bits in hexadecimal, the same for the same seed."""
    tag = seed
    while True:
        tag = hashlib.sha256(tag.encode()).hexdigest()[:32]
        yield tag


def tags_from(*texts: str, shortest: int = 8) -> Iterator[str]:
    """Tags in hexadecimal that follow from the texts themselves, each a digit longer than the last.

    The same texts get the same tag, so a deterministic model gives them the same score; no text can hold its own.
    """
    payload = json.dumps(texts)
    for attempt in itertools.count():
        yield hashlib.sha256(f"{attempt}{payload}".encode()).hexdigest()[: shortest + attempt]


def block(name: str, text: str, tag: str) -> str:
    """`text` between its BEGIN line and its END line."""
    return f"BEGIN {name} {tag}\n{text}\nEND {name} {tag}"
