"""Models and tokenizers from a folder or the hub, loaded by the same rules for every user.

Weights are safetensors, code that ships with a model never runs, and a model that lacks some of its weights is refused:
transformers would fill them with random numbers.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any, Literal

from pi_integrations.engine.local_models.identity import weights_files
from pi_integrations.errors import PiUsageError

__all__ = [
    "Device",
    "Dtype",
    "Task",
    "is_local",
    "load_model",
    "load_tokenizer",
    "pick_device",
    "require_local_extra",
    "resolve_folder",
]

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]
Task = Literal["causal-lm", "sequence-classification"]

_AUTO_CLASSES: dict[Task, str] = {
    "causal-lm": "AutoModelForCausalLM",
    "sequence-classification": "AutoModelForSequenceClassification",
}
# transformers has no exception of its own for a folder that it cannot load.
_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)

# transformers patches torch for the whole process while it builds a model: two loads at a time break each other.
_ONE_AT_A_TIME = threading.Lock()

# No *.py, which `trust_remote_code` would run, and no pickled weights.
_HUB_FILES = ["*.json", "*.jinja", "*.txt", "model*.safetensors"]


def require_local_extra(what: str) -> None:
    """Returns when torch and transformers can be imported.

    Raises:
        ImportError: Says that `what` needs them, and gives the pip command.
    """
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{what} needs {' and '.join(missing)}: pip install 'pi-integrations[local]'")


def resolve_folder(path_or_name: str | Path) -> Path:
    """The model's folder: `path_or_name` itself, or the hub's snapshot of that name, downloaded once.

    Raises:
        PiUsageError: There is no such folder or name, or it holds no configuration or no safetensors weights.
    """
    folder = Path(path_or_name).expanduser()
    if not folder.is_dir():
        if is_local(path_or_name):
            raise PiUsageError(f"There is no model folder at {str(folder)!r}: give a folder made by save_pretrained.")
        folder = _fetch(str(path_or_name))
    if (folder / "adapter_config.json").is_file():
        raise PiUsageError(f"{folder} holds a PEFT adapter: merge it (merge_and_unload), save that, and point there.")
    if not (folder / "config.json").is_file():
        raise PiUsageError(f"{folder} holds no config.json: give a folder made by save_pretrained.")
    weights_files(folder)
    return folder


def is_local(path_or_name: str | Path) -> bool:
    """Whether `path_or_name` is an existing folder, or not shaped like a hub name (NAME or OWNER/NAME)."""
    name = str(path_or_name)
    shaped_like_path = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1
    return shaped_like_path or Path(name).is_dir()


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise PiUsageError(
            f"{name!r} is not a folder on this machine and could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}). Check the spelling and the connection, or give the path of a model folder."
        ) from error


def pick_device(device: Device) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one.

    Raises:
        PiUsageError: `device` is unknown, or is `cuda` where there is none.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise PiUsageError(f"device={device!r} is unknown: use 'auto', 'cpu' or 'cuda'.")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise PiUsageError("device='cuda' but torch finds no CUDA device: use device='auto' or 'cpu'.")
    return "cuda" if device == "cuda" or (device == "auto" and available) else "cpu"


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer in `folder`.

    Raises:
        PiUsageError: It cannot be loaded, or is not a fast one.
    """
    from transformers import AutoTokenizer

    try:
        with _ONE_AT_A_TIME:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (*_LOAD_ERRORS, ImportError) as error:
        raise PiUsageError(f"The tokenizer in {folder} cannot be loaded ({_short(error)}).") from error
    if not getattr(tokenizer, "is_fast", False):
        raise PiUsageError(f"The tokenizer in {folder} has no tokenizer.json: save it as a fast tokenizer.")
    return tokenizer


def load_model(task: Task, folder: Path, *, device: str, dtype: Dtype) -> Any:
    """The model in `folder` as transformers' model for `task`, on `device`, in evaluation mode without gradients.

    Raises:
        PiUsageError: It cannot be loaded, needs code that ships with it, or lacks some of its weights.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    auto_class = getattr(transformers, _AUTO_CLASSES[task])
    try:
        with _ONE_AT_A_TIME:
            model, report = auto_class.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        model = model.eval().requires_grad_(False).to(device)
    except (*_LOAD_ERRORS, ImportError, SafetensorError) as error:
        raise PiUsageError(
            f"The model in {folder} cannot be loaded as {auto_class.__name__} on {device} ({_short(error)}). "
            "Check that the folder is whole, fits in memory and needs no remote code."
        ) from error
    _refuse_incomplete(report, folder, auto_class.__name__)
    return model


def _refuse_incomplete(report: dict[str, Any], folder: Path, kind: str) -> None:
    absent = sorted({*report.get("missing_keys", ()), *(str(key) for key in report.get("mismatched_keys", ()))})
    if absent:
        shown = ", ".join(absent[:3]) + (" …" if len(absent) > 3 else "")
        raise PiUsageError(
            f"{folder} lacks weights that {kind} needs ({shown}): they would be random numbers. "
            "Point at a folder that was saved from a model of this kind."
        )


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
