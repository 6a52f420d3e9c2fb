"""The operator's settings for jobs, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pi_integrations.errors import PiUsageError

__all__ = ["JobSettings"]


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "pi-integrations"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Where jobs are kept, for how long, how large their files may be, and which webhooks may be called.

    Attributes:
        data_dir: Directory of the SQLite files; default `$XDG_DATA_HOME/pi-integrations`, in the home directory's
            `.local/share` where that is not set.
        database_url: `postgresql://USER:PASSWORD@HOST/DATABASE`, for workers on several machines; takes the place of
            the SQLite files. Hidden in `repr`.
        retention_days: Days after which a job that ended is removed with its data and files; 0 keeps all for ever.
        max_artifact_bytes: Bytes that the files of one job may take; default 20 GiB.
        max_total_artifact_bytes: Bytes that the files of all jobs may take; default 200 GiB.
        beat_seconds: Seconds between two heartbeats of a worker.
        silence_seconds: Seconds without a heartbeat after which a worker's jobs are taken over.
        webhook_hosts: Hosts, `HOST` or `HOST:PORT`, that `webhook_url` may name; none refuses every webhook.
        webhook_secret: Signs webhooks; `whsec_` and base64, or any text. Hidden in `repr`.

    Example:
        >>> JobSettings(data_dir=Path("/var/lib/pi"), retention_days=7).retention_days
        7
    """

    data_dir: Path = field(default_factory=_default_data_dir)
    database_url: SecretStr | None = None
    retention_days: float = 30.0
    max_artifact_bytes: int = 20 * 1024**3
    max_total_artifact_bytes: int = 200 * 1024**3
    beat_seconds: float = 1.0
    silence_seconds: float = 5.0
    webhook_hosts: tuple[str, ...] = ()
    webhook_secret: SecretStr | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_dir", Path(self.data_dir).expanduser())
        if not self.retention_days >= 0:
            raise PiUsageError(f"retention_days is {self.retention_days}; give 0 for ever, or days > 0")
        for name in ("max_artifact_bytes", "max_total_artifact_bytes"):
            if not getattr(self, name) > 0:
                raise PiUsageError(f"{name} is {getattr(self, name)}; give a number of bytes above 0")
        if not 0 < self.beat_seconds < self.silence_seconds:
            raise PiUsageError(
                f"beat_seconds is {self.beat_seconds} and silence_seconds {self.silence_seconds}; a beat must be"
                " above 0 and shorter than the silence"
            )
        if isinstance(self.webhook_hosts, str):  # type: ignore[unreachable]
            raise PiUsageError("webhook_hosts is a text; give a tuple of hosts")
        object.__setattr__(self, "webhook_hosts", tuple(self.webhook_hosts))
        if self.webhook_hosts and not (self.webhook_secret and self.webhook_secret.get_secret_value()):
            raise PiUsageError(
                "webhook_hosts are allowed, but there is no webhook_secret (PI_ENGINE_WEBHOOK_SECRET) to sign with"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> JobSettings:
        """`given` completed from `PI_ENGINE_DATA_DIR`, `PI_ENGINE_DATABASE_URL`, `PI_ENGINE_RETENTION_DAYS`,
        `PI_ENGINE_MAX_ARTIFACT_BYTES`, `PI_ENGINE_MAX_TOTAL_ARTIFACT_BYTES`, `PI_ENGINE_WEBHOOK_HOSTS`
        (comma-separated) and `PI_ENGINE_WEBHOOK_SECRET`.

        Raises:
            PiUsageError: when a value cannot be read.
        """
        return cls(**{**_read(environ), **{name: value for name, value in given.items() if value is not None}})


def _read(environ: Mapping[str, str] | None) -> dict[str, Any]:
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if folder := environ.get("PI_ENGINE_DATA_DIR"):
        values["data_dir"] = Path(folder)
    for name in ("database_url", "webhook_secret"):
        if text := environ.get(f"PI_ENGINE_{name.upper()}"):
            values[name] = SecretStr(text)
    if hosts := environ.get("PI_ENGINE_WEBHOOK_HOSTS"):
        values["webhook_hosts"] = tuple(host.strip() for host in hosts.split(",") if host.strip())
    kinds = {"retention_days": float, "max_artifact_bytes": int, "max_total_artifact_bytes": int}
    for name, kind in kinds.items():
        if text := environ.get(variable := f"PI_ENGINE_{name.upper()}"):
            try:
                values[name] = kind(text)
            except ValueError:
                raise PiUsageError(f"{variable} is {text!r}; give a number of {name.rpartition('_')[2]}") from None
    return values
