"""For mkdocstrings: docstrings here say `Example:`; griffe shows `>>>` lines as code below `Examples:` only."""

from __future__ import annotations

import re
from typing import Any

import griffe

__all__ = ["ShowExamples"]


class ShowExamples(griffe.Extension):
    """Reads `Example:` as griffe's `Examples:` section."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for every module, class, function and attribute it read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
