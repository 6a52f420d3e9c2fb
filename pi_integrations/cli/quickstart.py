"""`quickstart`: `score` on the sample that ships with the package."""

from __future__ import annotations

from pathlib import Path

from pi_integrations.cli.endpoints import ScoreEndpoint
from pi_integrations.cli.score import ScoreRun, score_file
from pi_integrations.errors import PiUsageError

__all__ = ["run_quickstart", "sample_folder"]

_FOLDERS = (
    Path(__file__).parent / "support_desk",  # in an installed wheel
    Path(__file__).parents[2] / "cookbook" / "support_desk",  # in a checkout
)


def sample_folder() -> Path:
    """The folder of the sample's `exchanges.jsonl` and `spec.yaml`.

    Raises:
        PiUsageError: when they are missing from the installation.
    """
    for folder in _FOLDERS:
        if (folder / "exchanges.jsonl").is_file():
            return folder
    raise PiUsageError("the sample is missing from this installation; install the package again")


def run_quickstart(judge: str, folder: Path) -> int:
    """The exit status after scoring the sample with `judge`; the scores and the report go to `folder`."""
    sample = sample_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PiUsageError(f"cannot make {folder}: {error.strerror}; choose another --folder") from None
    run = ScoreRun(
        source=str(sample / "exchanges.jsonl"),
        spec_path=sample / "spec.yaml",
        output=folder / "pi-scores.jsonl",
        report=folder / "pi-report.html",
        overwrite=True,
        title="Support desk, forty handwritten exchanges",
    )
    return score_file(run, ScoreEndpoint(judge=judge))
