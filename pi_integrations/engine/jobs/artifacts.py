"""A job's files: a folder that outlives its attempts and is removed with the job. An fsspec URL comes later."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.errors import PiUsageError

__all__ = ["Artifacts"]

logger = logging.getLogger(__name__)


class Artifacts:
    """The files of one job, below `artifacts` in the engine's data directory.

    An attempt that lost its job may still write here while the next one works: write to a name of the attempt's own and
    rename the file when it is complete. All methods use the disk; call them from a thread where there are many files.

    Args:
        settings: Where the data directory is, and how much may be kept there.
        job_id: Names the folder.
    """

    def __init__(self, settings: JobSettings, job_id: str) -> None:
        self._settings = settings
        # The operator may have put the folder of all jobs on another disk, by a link.
        self._all = (settings.data_dir / "artifacts").resolve()
        self._folder = self._all / job_id

    def path(self, name: str) -> Path:
        """The path of a file or folder of this job, such as `checkpoints/step-10`; its parent folders exist then.

        Raises:
            PiUsageError: when the name is empty, absolute, or leads out of the job's folder, by `..` or by a link.
        """
        try:
            path = (self._folder / name).resolve()
        except (OSError, RuntimeError, ValueError):
            path = self._folder
        if self._folder not in path.parents:
            raise PiUsageError(f"artifact {name!r} is not below the job's folder; give a relative name without '..'")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def size(self) -> int:
        """Bytes that the job's files take; links are not followed."""
        return _size(self._folder)

    def check_room(self, more: int) -> None:
        """Raises JobStopped when `more` bytes are more than one job, or all jobs together, may still keep here."""
        limit, total = self._settings.max_artifact_bytes, self._settings.max_total_artifact_bytes
        if (wanted := self.size() + more) > limit:
            raise _no_room("the files of this job", wanted, limit, "max_artifact_bytes")
        if (wanted := _size(self._all) + more) > total:
            raise _no_room(
                "the files of all jobs", wanted, total, "max_total_artifact_bytes, or lower the retention of old jobs"
            )

    def remove(self) -> None:
        """Removes the job's files, if there are any; what cannot be removed is logged."""
        try:
            shutil.rmtree(self._folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("the files at %s could not be removed: %s; remove them by hand", self._folder, error)


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return size


def _no_room(whose: str, wanted: int, limit: int, remedy: str) -> JobStopped:
    return JobStopped(
        f"{whose} would take {wanted:,} bytes, and {limit:,} are allowed. The engine's operator can raise {remedy}"
    )
