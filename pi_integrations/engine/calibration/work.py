"""The work of a calibration job: each exchange is scored once and recorded, then the spec is fitted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pi_integrations.engine.calibration.model import Floats
from pi_integrations.engine.chat_models.failures import Patience, side_by_side
from pi_integrations.engine.jobs.family import FamilyWork, JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService, ScoringFailed
from pi_integrations.errors import PiUsageError
from pi_integrations.models import DimensionSpec, Question, ScoreRequest, ScoreResult
from pi_integrations.models.calibration import CalibrateRequest
from pi_integrations.models.families import CALIBRATE

if TYPE_CHECKING:
    from pi_integrations.engine.calibration.calibrate import Calibration
    from pi_integrations.engine.calibration.fitting import Observations

__all__ = ["calibration_work"]

_BATCH = 20  # exchanges that are scored at a time, and what a crash costs at most
_FIRST_WAIT = 1.0
Texts = tuple[str, str]


def calibration_work(service: ScoreService, *, patience: float = 900.0) -> FamilyWork[CalibrateRequest]:
    """The work of `/scoring_system/calibrate`, with the engine's own judge, code runner and custom models.

    Args:
        service: Scores the exchanges.
        patience: Seconds for which rate limits, server errors and time-outs of the judge are waited out.
    """

    async def work(request: CalibrateRequest, run: Run) -> Mapping[str, Any]:
        exchanges = _exchanges(request)
        scores = await _Scoring(request, run, service, patience).scores(exchanges)
        found = await asyncio.to_thread(_calibrated, request, exchanges, scores)
        # A job that was killed between this commit and its end does not say it twice.
        if not (run.progress or {}).get("summarised"):
            progress = {**(run.progress or {}), "summarised": True}
            await run.commit(messages=[found.report["summary"]], progress=progress)
        return {"calibrated_scoring_spec": _plain(found.spec), "calibrated": found.calibrated, "report": found.report}

    def check(request: CalibrateRequest) -> None:
        service.check(request.scoring_spec, request.aggregation_method)

    return FamilyWork(CALIBRATE, work, check=check)


class _Scoring:
    """Raw question scores of exchanges, some at a time; each batch is recorded and never requested again."""

    def __init__(self, request: CalibrateRequest, run: Run, service: ScoreService, patience: float) -> None:
        self._spec = request.scoring_spec
        self._method = request.aggregation_method
        self._run = run
        self._service = service
        self._patience = Patience(patience, _FIRST_WAIT)
        self._judge: str | None = None

    async def scores(self, exchanges: Sequence[Texts]) -> Floats:
        """One row per exchange, NaN where a question has no score.

        Raises:
            JobStopped: when the judge changes under way, or keeps failing.
        """
        rows: list[list[float | None]] = []
        for start in range(0, len(exchanges), _BATCH):
            some = exchanges[start : start + _BATCH]
            answers = await self._run.recorded(f"scores-{start}", partial(self._batch, some))
            rows += [self._checked(answer) for answer in answers]
            if len(rows) > (self._run.progress or {}).get("scored", 0):
                line = f"Scored {len(rows)} of {len(exchanges)} exchanges"
                await self._run.commit(messages=[line], progress={"scored": len(rows)})
        return np.array(rows, dtype=np.float64)

    def _checked(self, answer: Mapping[str, Any]) -> list[float | None]:
        judge = answer["judge"]
        if judge is not None and self._judge not in (None, judge):
            raise JobStopped(
                f"the judge changed while the examples were scored, from {self._judge} to {judge}; scores of two judges"
                " cannot be compared. Start another job"
            )
        self._judge = judge or self._judge
        scores: list[float | None] = answer["scores"]
        return scores

    async def _batch(self, exchanges: Sequence[Texts]) -> list[dict[str, Any]]:
        return await side_by_side(self._one(*exchange) for exchange in exchanges)

    async def _one(self, llm_input: str, llm_output: str) -> dict[str, Any]:
        request = ScoreRequest(
            llm_input=llm_input, llm_output=llm_output, scoring_spec=self._spec, aggregation_method=self._method
        )
        try:
            body = await self._patience.wait_out(lambda: self._scored(request), self._waiting)
        except ScoringFailed as failure:
            if failure.retryable:
                raise JobStopped(f"scoring kept failing for {self._patience.seconds:g} s: {failure}") from None
            return {"judge": None, "scores": [None] * len(self._keys)}
        except PiUsageError as error:
            raise JobStopped(f"the scoring spec cannot be used: {error}") from None
        result = ScoreResult.model_validate(body)
        scores = {outcome.key: outcome.score for outcome in result.questions()}
        return {"judge": result.judge, "scores": [scores.get(key) for key in self._keys]}

    async def _scored(self, request: ScoreRequest) -> dict[str, Any]:
        try:
            return await self._service.score(request, "error")
        except ScoringFailed as failure:
            # "partial" alone would record a question as unscored for a rate limit that passes in a minute.
            if failure.retryable:
                raise
            return await self._service.score(request, "partial")

    @property
    def _keys(self) -> list[str]:
        if isinstance(self._spec, list):
            return [question.key for question in self._spec]
        return [f"{each.label} / {sub.label}" for each in self._spec.dimensions for sub in each.sub_dimensions]

    async def _waiting(self, failure: BaseException, seconds: float) -> None:
        """Waits are silent: the job's messages say how far it is."""


def _plain(spec: list[Question] | DimensionSpec) -> Any:
    return (
        spec.model_dump(mode="json") if isinstance(spec, DimensionSpec) else [q.model_dump(mode="json") for q in spec]
    )


def _exchanges(request: CalibrateRequest) -> list[Texts]:
    """Every distinct exchange that a label or a preference is about, in their order."""
    rated = [(each.llm_input, each.llm_output) for each in request.examples if each.score is not None]
    compared = [(each.llm_input, text) for each in request.preference_examples for text in (each.chosen, each.rejected)]
    return list(dict.fromkeys([*rated, *compared]))


def _calibrated(request: CalibrateRequest, exchanges: Sequence[Texts], scores: Floats) -> Calibration:
    # Imported with the first job: SciPy takes a second to load, and every engine with jobs would wait for it.
    from pi_integrations.engine.calibration.calibrate import calibrate

    return calibrate(
        request.scoring_spec,
        _observations(request, exchanges, scores),
        strategy=request.strategy.value,
        aggregation_method=request.aggregation_method,
    )


def _observations(request: CalibrateRequest, exchanges: Sequence[Texts], scores: Floats) -> Observations:
    from pi_integrations.engine.calibration.fitting import Observations

    place = {exchange: number for number, exchange in enumerate(exchanges)}
    rated = [each for each in request.examples if each.score is not None]
    pairs = [
        (place[each.llm_input, each.chosen], place[each.llm_input, each.rejected])
        for each in request.preference_examples
        if each.chosen != each.rejected
    ]
    return Observations(
        scores=scores.reshape(len(exchanges), -1),
        inputs=[llm_input for llm_input, _ in exchanges],
        rated=np.array([place[each.llm_input, each.llm_output] for each in rated], dtype=np.intp),
        labels=np.array([each.score for each in rated], dtype=np.float64),
        pairs=np.array(pairs, dtype=np.intp).reshape(-1, 2),
    )
