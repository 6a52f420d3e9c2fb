"""The identity of a model folder: digests that change when its weights or its tokenizer change, loading neither."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pi_integrations.errors import PiUsageError

__all__ = ["fingerprint_of", "tokenizer_digest", "weights_digest", "weights_files"]

# Folders up to this size are hashed whole (about a second at worst); larger ones are sampled, tensor by tensor.
WHOLE_BYTES = 256 * 2**20
SAMPLES_PER_TENSOR = 8
SAMPLE_BYTES = 4096

_TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


def fingerprint_of(folder: Path) -> str:
    """`weights=…:tokenizer=…`, 16 hexadecimal digits of each digest; a second's work at worst.

    Raises:
        PiUsageError: `folder` holds no whole safetensors weights.
    """
    return f"weights={weights_digest(folder)[:16]}:tokenizer={tokenizer_digest(folder)[:16]}"


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads from `folder`, in name order.

    Raises:
        PiUsageError: There are none, or one that the index names is missing.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise PiUsageError(
            f"{folder} holds no model.safetensors and no model.safetensors.index.json. Only safetensors weights are "
            "read: save the model with save_pretrained(..., safe_serialization=True), or point at another folder."
        )
    files = [folder / name for name in sorted(set(_weight_map(index).values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise PiUsageError(f"{index} names {', '.join(missing)}, which {folder} does not hold: copy the whole folder.")
    return files


def weights_digest(folder: Path) -> str:
    """SHA-256, in hex, of config.json and the weights in `folder`.

    Up to 256 MiB of weights are hashed whole. Larger ones give their sizes, their headers (names, types and shapes of
    all tensors) and eight evenly spaced blocks of 4 KiB of every tensor: any training step moves those bytes, an edit
    of a few chosen numbers in a large tensor may not.
    """
    files = weights_files(folder)
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    whole = sum(file.stat().st_size for file in files) <= WHOLE_BYTES
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}".encode())
        with file.open("rb") as stream:
            for block in _all_blocks(stream) if whole else _sampled_blocks(stream, file):
                digest.update(block)
    return digest.hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """SHA-256, in hex, of the tokenizer's files in `folder`, its chat template included."""
    digest = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        file = folder / name
        if file.is_file():
            digest.update(f"{name}:{file.stat().st_size}:".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise PiUsageError(f"{index} is no safetensors index ({error}): download or save the model again.") from error


def _all_blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(2**20):
        yield block


def _sampled_blocks(stream: BinaryIO, file: Path) -> Iterator[bytes]:
    """The header of a safetensors file, then blocks of every tensor: 8 bytes of length, JSON, then the data."""
    try:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
        spans = [tensor["data_offsets"] for name, tensor in json.loads(header).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise PiUsageError(f"{file} is no safetensors file ({error}): download or save the model again.") from error
    yield header
    for begin, end in spans:
        for block in range(SAMPLES_PER_TENSOR):
            stream.seek(8 + len(header) + begin + (end - begin) * block // SAMPLES_PER_TENSOR)
            yield stream.read(SAMPLE_BYTES)
