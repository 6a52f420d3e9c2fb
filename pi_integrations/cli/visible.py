"""Text of strangers made safe to show: what would act on a terminal or a page instead of being seen is spelled out."""

from __future__ import annotations

import re

__all__ = ["visible"]

# Control characters but for tab and line ends; marks that reorder or hide text; lone surrogates, which no file holds.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""`text` with each unseen character as its code point: terminal escapes, bidirectional overrides, null bytes.

    Example:
        >>> visible("a\x1b[2Jb")
        'a⟦U+001B⟧[2Jb'
    """
    return _UNSEEN.sub(lambda match: f"⟦U+{ord(match[0]):04X}⟧", text)
