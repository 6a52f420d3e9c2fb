"""`client.scoring_system.calibrate`: jobs that fit a scoring spec to labels and preferences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.errors import PiUsageError
from pi_integrations.models import (
    AggregationMethod,
    CalibrateRequest,
    CalibrationStatus,
    CalibrationStrategy,
    LabeledExample,
    PreferenceExample,
    SpecLike,
)

__all__ = ["Calibrate"]

LabelLike = LabeledExample | Mapping[str, Any] | tuple[str, str, float]
PreferenceLike = PreferenceExample | Mapping[str, Any] | tuple[str, str, str]
_LABEL_FIELDS = ("llm_input", "llm_output", "score")
_PREFERENCE_FIELDS = ("llm_input", "chosen", "rejected")


class Calibrate(JobResource[CalibrateRequest, CalibrationStatus, Any]):
    """`client.scoring_system.calibrate`: jobs that fit a spec's curves and weights to labels and preferences.

    Example:
        ```python
        async def calibrated(client: AsyncPiClient, labels: list[tuple[str, str, float]]) -> CalibrationStatus:
            spec = [{"question": "Is the answer polite?"}, {"question": "Is the answer right?"}]
            job = await client.scoring_system.calibrate.start_job(scoring_spec=spec, examples=labels)
            return await job.result()
        ```
    """

    async def start_job(  # type: ignore[override]
        self,
        *,
        scoring_spec: SpecLike,
        examples: Iterable[LabelLike] = (),
        preference_examples: Iterable[PreferenceLike] = (),
        strategy: CalibrationStrategy | str | None = None,
        aggregation_method: AggregationMethod | str | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job[CalibrationStatus, Any]:
        """A new job that calibrates a spec. A start that is retried never makes a second one.

        Args:
            scoring_spec: A list of questions, or a dimension spec; the result is of the same kind.
            examples: Labelled exchanges: `LabeledExample`, mappings with `llm_input`, `llm_output` and `score`, or
                tuples of the three. A score is a number in [0, 1].
            preference_examples: Compared answers: `PreferenceExample`, mappings with `llm_input`, `chosen` and
                `rejected`, or tuples of the three. At least one of the two lists is not empty.
            strategy: FULL (default) fits until it converges, LITE takes at most 20 steps.
            aggregation_method: Mean that a flat spec will be scored with; default GEOMETRIC_MEAN.
            webhook_url: Notified when the job ends, if the engine's operator allows that host.
            idempotency_key: The same key and arguments give the same job; default a new key.

        Raises:
            PiError: see `JobResource.start_job`; a wrong argument is named by field and index.
        """
        fields = dict(locals())  # the arguments, which have the names of the wire
        del fields["self"], fields["idempotency_key"]
        fields["examples"] = _rows("examples", examples, _LABEL_FIELDS)
        fields["preference_examples"] = _rows("preference_examples", preference_examples, _PREFERENCE_FIELDS)
        return await self._start(fields, idempotency_key)


def _rows(name: str, rows: Iterable[Any], fields: tuple[str, ...]) -> list[Any]:
    """The rows as mappings, unchecked; a row that is neither a model, a mapping nor a tuple is refused."""
    if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        raise PiUsageError(f"{name} is a {type(rows).__name__}; give a list, which may be empty")
    return [_row(f"{name}[{index}]", row, fields) for index, row in enumerate(rows)]


def _row(name: str, row: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(row, LabeledExample | PreferenceExample):
        return row.model_dump()
    if isinstance(row, Mapping):
        return dict(row)
    if isinstance(row, tuple | list) and len(row) == len(fields):
        return dict(zip(fields, row, strict=True))
    kind = "a tuple of another length" if isinstance(row, tuple | list) else f"a {type(row).__name__}"
    raise PiUsageError(f"{name} is {kind}; give a mapping with {', '.join(fields)}, or a tuple of the three")
