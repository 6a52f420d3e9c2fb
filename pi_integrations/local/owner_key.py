"""The API key of embedded engines: random, made once for each data directory, so that jobs keep their owner."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from pi_integrations.errors import PiUsageError

__all__ = ["owner_key"]

_FILE = "embedded.key"


def owner_key(data_dir: Path) -> SecretStr:
    """The key in `data_dir`, made at the first call; only this user can read it.

    Raises:
        PiUsageError: when it cannot be read or made.
    """
    path = data_dir / _FILE
    try:
        with suppress(FileNotFoundError):
            return _read(path)
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(path)
        return _read(path)
    except OSError as error:
        raise PiUsageError(f"cannot use {path}: {error.strerror}; give another data_dir") from None


def _read(path: Path) -> SecretStr:
    key = path.read_text(encoding="ascii", errors="replace").strip()
    if len(key) < 32 or not key.isalnum():
        raise PiUsageError(f"{path} holds no key; remove it, and a new one is made (jobs of the old one stay with it)")
    return SecretStr(key)


def _make(path: Path) -> None:
    """Whole or not at all, and never over the key of a process that was faster."""
    draft = path.with_name(f"{_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_hex(32).encode() + b"\n")
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
