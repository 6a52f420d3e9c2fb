"""The registry of job families: the one description from which client, routes, page and shell are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter

from pi_integrations.models import wire
from pi_integrations.models.calibration import CalibrateRequest, CalibrationStatus
from pi_integrations.models.data import (
    GenerateInputsRequest,
    GeneratePairsRequest,
    InputResponsePair,
    SyntheticDataStatus,
    SyntheticInputsStatus,
)
from pi_integrations.models.jobs import JobStatus, decode_text, encode_json, encode_text

__all__ = ["CALIBRATE", "FAMILIES", "GENERATE_INPUTS", "GENERATE_PAIRS", "JobFamily"]

RequestT = TypeVar("RequestT", bound=BaseModel)
StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class JobFamily(Generic[RequestT, StatusT, ItemT]):
    """One kind of job, as every part of the package knows it.

    Attributes:
        path: Where its routes are, such as `/data/generate`; also the name of its queue.
        kind: One plain word for it, in the shell and on the page: `pairs`.
        request: Model of the body that starts a job.
        status: Model of a job's status.
        item: Type of an item on its `/data` stream: `str` (bare text), or a type that pydantic reads from a JSON line;
            None for a family without that stream.
    """

    path: str
    kind: str
    request: type[RequestT]
    status: type[StatusT]
    item: type[ItemT] | None = None

    def decode_item(self, line: bytes) -> ItemT:
        """The item on a line of the `/data` stream.

        Raises:
            ValidationError: when the line holds no such item.
            UnicodeDecodeError: when it is not UTF-8.
        """
        if self.item is str:
            return decode_text(line.decode())  # type: ignore[return-value]
        item: ItemT = _adapter(self.item).validate_json(line)  # type: ignore[arg-type]
        return item

    def encode_item(self, row: str) -> str:
        """The line of a row as the job engine keeps it, which is JSON."""
        value: Any = json.loads(row)
        return encode_text(value) if self.item is str else encode_json(value)


@cache
def _adapter(item: Any) -> TypeAdapter[Any]:
    return TypeAdapter(item)


GENERATE_PAIRS: Final = JobFamily(
    wire.GENERATE_PAIRS_PATH, "pairs", GeneratePairsRequest, SyntheticDataStatus, InputResponsePair
)
GENERATE_INPUTS: Final = JobFamily(
    wire.GENERATE_INPUTS_PATH, "inputs", GenerateInputsRequest, SyntheticInputsStatus, str
)

CALIBRATE: Final[JobFamily[CalibrateRequest, CalibrationStatus, Any]] = JobFamily(
    wire.CALIBRATE_PATH, "calibration", CalibrateRequest, CalibrationStatus
)

FAMILIES: Final[tuple[JobFamily[Any, Any, Any], ...]] = (GENERATE_PAIRS, GENERATE_INPUTS, CALIBRATE)
"""Every family, in the order in which people are shown them."""
