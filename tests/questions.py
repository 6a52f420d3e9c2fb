"""The questions that the default judge of the tests answers: see `conftest.judge`."""

from __future__ import annotations

POLITE = "Is the answer polite?"
CLEAR = "Is the answer clear?"
