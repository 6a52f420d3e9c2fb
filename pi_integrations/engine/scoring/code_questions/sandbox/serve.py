"""The worker's main loop: a request in, a reply out, until the engine closes the pipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, Any

from pi_integrations.engine.scoring.code_questions.frames import EndOfStream, encode, receive, send
from pi_integrations.engine.scoring.code_questions.limits import CodeLimits

__all__ = ["main"]


def main(limits: Mapping[str, Any]) -> None:
    """Serves this process's standard streams. Returns when the engine closes them, or when it cannot start."""
    requests, replies = _private_streams()
    _leave_no_core_dump()
    try:
        _serve(CodeLimits(**limits), requests, replies)
    except EndOfStream:
        return
    except (ImportError, OSError) as error:
        send(replies, encode({"failed": f"{type(error).__name__}: {error}"}))


def _serve(limits: CodeLimits, requests: IO[bytes], replies: IO[bytes]) -> None:
    from pi_integrations.engine.scoring.code_questions.sandbox.session import Sandbox

    with Sandbox(limits) as sandbox:
        send(replies, encode({"ready": True}))
        while True:
            send(replies, encode(sandbox.run(receive(requests))))


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output moved out of reach, so that no stray print can spoil a frame."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return requests, replies


def _leave_no_core_dump() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
