"""Lines of a byte or text stream, each of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import IO, Any

from pi_integrations.errors import PiUsageError

__all__ = ["MAX_LINE_BYTES", "is_overlong", "read_lines"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line, or a longer CSV field, is refused instead of read into memory."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(stream: IO[bytes] | IO[str]) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark; an overlong line comes cut and one byte over the limit."""
    binary: Any = getattr(stream, "buffer", stream)
    first = True
    for line in iter(partial(binary.readline, MAX_LINE_BYTES + 1), binary.read(0)):
        data: bytes = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
        if first and data.startswith(_UTF16_BOMS):
            raise PiUsageError("the file is UTF-16; save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8")
        if len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            _skip_line(binary)
        yield data.removeprefix(_BOM) if first else data
        first = False


def _skip_line(binary: Any) -> None:
    for rest in iter(partial(binary.readline, MAX_LINE_BYTES), binary.read(0)):
        if rest[-1:] in (b"\n", "\n"):
            return


def is_overlong(line: bytes) -> bool:
    """Whether `read_lines` cut this line."""
    return len(line) > MAX_LINE_BYTES
