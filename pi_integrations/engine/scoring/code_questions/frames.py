"""Messages between the engine and a worker process: JSON values, each after its length in four bytes."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

__all__ = ["EndOfStream", "encode", "receive", "send"]

_LENGTH = struct.Struct(">I")


class EndOfStream(Exception):
    """The other side closed the stream, or died."""


def encode(message: Any) -> bytes:
    """The JSON text of `message`, as bytes.

    Raises:
        TypeError: when it holds a value JSON has no form for.
        ValueError: when it contains itself.
        RecursionError: when it nests too deep.
    """
    return json.dumps(message).encode()


def send(stream: IO[bytes], payload: bytes) -> None:
    """Writes one frame to an unbuffered stream.

    Raises:
        EndOfStream: when nobody reads any more.
    """
    rest = memoryview(_LENGTH.pack(len(payload)) + payload)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except (OSError, ValueError) as error:
        raise EndOfStream from error


def receive(stream: IO[bytes]) -> Any:
    """The next message of an unbuffered stream; blocks until it is whole.

    Raises:
        EndOfStream: when the stream ends first.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return json.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = stream.read(min(size - len(parts), 1 << 20))
        except (OSError, ValueError) as error:
            raise EndOfStream from error
        if not part:
            raise EndOfStream
        parts += part
    return bytes(parts)
