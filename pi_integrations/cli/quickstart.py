"""`quickstart`: the main job on the sample that ships with the package."""

from __future__ import annotations

from pathlib import Path

from pi_integrations.cli.endpoint import Endpoint
from pi_integrations.cli.score import Job, score_file
from pi_integrations.errors import PiUsageError

__all__ = ["run_quickstart", "sample_folder"]

_PLACES = (
    Path(__file__).parent / "support_desk",  # in an installed wheel
    Path(__file__).parents[2] / "cookbook" / "support_desk",  # in a checkout
)


def sample_folder() -> Path:
    """Where the sample's `exchanges.jsonl` and `spec.yaml` are.

    Raises:
        PiUsageError: when the package was installed without them.
    """
    for place in _PLACES:
        if (place / "exchanges.jsonl").is_file():
            return place
    raise PiUsageError("the sample is missing from this installation; install the package again")


def run_quickstart(judge: str, folder: Path) -> int:
    """Scores the sample with `judge`; the scores and the report go to `folder`. Returns the exit status."""
    sample = sample_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PiUsageError(f"cannot make {folder}: {error.strerror}; choose another --folder") from None
    job = Job(
        source=str(sample / "exchanges.jsonl"),
        spec_path=sample / "spec.yaml",
        output=folder / "pi-scores.jsonl",
        report=folder / "pi-report.html",
        overwrite=True,
        title="Support desk, forty handwritten exchanges",
    )
    return score_file(job, Endpoint(judge=judge))
