"""The scores of one request: every question answered concurrently by its kind of scorer, and the response's body.

All I/O of scoring happens here; aggregation is pure and lives in its own module.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pi_integrations.engine.judges import Exchange, Judge, Method, Verdict
from pi_integrations.engine.scoring.aggregation import NothingScored, aggregate
from pi_integrations.engine.scoring.rubric import Leaf, Rubric, compile_rubric
from pi_integrations.errors import PiUsageError
from pi_integrations.models import AggregationMethod, ScoreRequest, ScoringSpec, ScoringType, Usage
from pi_integrations.models.wire import UNSCORED_HEADER, UnscoredPolicy

if TYPE_CHECKING:
    from pi_integrations.engine.scoring.code_questions import CodeRunner
    from pi_integrations.engine.scoring.custom_models import CustomModels

__all__ = ["ScoreService", "ScoringFailed", "VerdictCache"]

logger = logging.getLogger(__name__)


class ScoringFailed(Exception):
    """A question is unscored, and the policy or the lack of any other score makes that an error.

    `fault` is `code` for the request's own code (422), and `judge` for the engine's judge and models (502).
    """

    def __init__(self, message: str, *, fault: Literal["code", "judge"], retryable: bool) -> None:
        super().__init__(message)
        self.fault = fault
        self.retryable = retryable


class VerdictCache:
    """The last `max_entries` scored verdicts, in memory; 0 keeps none. Unscored verdicts are never kept."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        # Plain tuples, which the garbage collector does not track: ten thousand tracked verdicts caused full
        # collections of 50 ms.
        self._entries: OrderedDict[bytes, tuple[float, Method, str | None]] = OrderedDict()

    def keys(self, fingerprint: str, exchange: Exchange, questions: list[str]) -> dict[str, bytes]:
        """The key of each question; empty when nothing is kept."""
        if not self._max_entries:
            return {}
        shared = hashlib.blake2b(digest_size=16)
        for text in (fingerprint, exchange.llm_input, exchange.llm_output):
            data = text.encode("utf-8", "surrogatepass")
            shared.update(len(data).to_bytes(8, "big"))
            shared.update(data)
        keys = {}
        for question in questions:
            digest = shared.copy()
            digest.update(question.encode("utf-8", "surrogatepass"))
            keys[question] = digest.digest()
        return keys

    def get(self, key: bytes) -> Verdict | None:
        """The verdict kept under `key`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        score, method, explanation = entry
        return Verdict(score, method=method, explanation=explanation)

    def set(self, key: bytes, verdict: Verdict) -> None:
        """Keeps a scored verdict, and drops the least recently used one when full."""
        if verdict.score is None:
            return
        self._entries[key] = (verdict.score, verdict.method, verdict.explanation)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    cached: bool = False
    model: str | None = None


class ScoreService:
    """Answers score requests with one judge, a code runner and the registered models.

    Args:
        judge: Answers `PI_SCORER` questions.
        code: Runs `PYTHON_CODE` questions.
        custom: Runs `CUSTOM_MODEL_SCORER` questions.
        cache: Keeps the judge's verdicts.
        judge_timeout: Seconds the judge has for one exchange.
    """

    def __init__(
        self, judge: Judge, code: CodeRunner, custom: CustomModels, cache: VerdictCache, *, judge_timeout: float
    ) -> None:
        self._judge = judge
        self._code = code
        self._custom = custom
        self._cache = cache
        self._judge_timeout = judge_timeout

    async def score(self, request: ScoreRequest, policy: UnscoredPolicy) -> dict[str, Any]:
        """The body of the response, as plain values.

        Raises:
            ScoringFailed: a question is unscored under the `error` policy, or nothing is left to count.
            PiUsageError: the spec names a model that is not registered.
        """
        rubric = self.check(request.scoring_spec, request.aggregation_method)
        leaves = rubric.leaves
        outcomes = await self._outcomes(leaves, Exchange(request.llm_input, request.llm_output), request.kwargs or {})
        if policy == "error":
            hint = f"Fix it, or send the header {UNSCORED_HEADER}: partial to leave unscored questions out of the total"
            _refuse_unscored(leaves, outcomes, hint)
        return self._body(rubric, leaves, outcomes)

    def check(self, spec: ScoringSpec, method: AggregationMethod | None = None) -> Rubric:
        """The compiled spec.

        Raises:
            PiUsageError: it is not a rubric, or names a model that is not registered.
        """
        rubric = compile_rubric(spec, method)
        for leaf in rubric.leaves:
            if leaf.scoring_type is ScoringType.CUSTOM_MODEL_SCORER:
                self._custom.check(leaf.custom_model_id or "")
        return rubric

    async def _outcomes(self, leaves: Sequence[Leaf], exchange: Exchange, kwargs: Mapping[str, Any]) -> list[_Outcome]:
        judged = [leaf.text for leaf in leaves if leaf.scoring_type is ScoringType.PI_SCORER]
        others = [leaf for leaf in leaves if leaf.scoring_type is not ScoringType.PI_SCORER]
        if not others:
            answers = await self._judged(exchange, judged)
            return [answers[leaf.text] for leaf in leaves]
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(self._judged(exchange, judged))
            tasks = {id(leaf): group.create_task(self._other(leaf, exchange, kwargs)) for leaf in others}
        answers = judging.result()
        return [tasks[id(leaf)].result() if id(leaf) in tasks else answers[leaf.text] for leaf in leaves]

    async def _other(self, leaf: Leaf, exchange: Exchange, kwargs: Mapping[str, Any]) -> _Outcome:
        if leaf.scoring_type is ScoringType.PYTHON_CODE:
            return _Outcome(await self._code.score(leaf.python_code or "", exchange, kwargs))
        model_id = leaf.custom_model_id or ""
        try:
            verdict = await self._custom.score(model_id, leaf.text, exchange)
            return _Outcome(verdict, model=self._custom.fingerprint(model_id))
        except PiUsageError as error:  # the model's configuration, with its remedy
            return _Outcome(Verdict.unscored(str(error), method="model"))

    async def _judged(self, exchange: Exchange, questions: Sequence[str]) -> dict[str, _Outcome]:
        """The outcome of each distinct question; the judge gets only those not in the cache."""
        distinct = list(dict.fromkeys(questions))
        keys = self._cache.keys(self._judge.fingerprint, exchange, distinct)
        outcomes: dict[str, _Outcome] = {}
        for question, key in keys.items():
            if (kept := self._cache.get(key)) is not None:
                outcomes[question] = _Outcome(kept, cached=True)
        asked = [question for question in distinct if question not in outcomes]
        if asked:
            before = self._judge.fingerprint
            verdicts = await self._ask(exchange, asked)
            if self._judge.fingerprint != before:  # its first answer decided how it reads
                keys = self._cache.keys(self._judge.fingerprint, exchange, distinct)
            for question, verdict in zip(asked, verdicts, strict=True):
                outcomes[question] = _Outcome(verdict)
                if question in keys:
                    self._cache.set(keys[question], verdict)
        return outcomes

    async def _ask(self, exchange: Exchange, questions: list[str]) -> list[Verdict]:
        """The judge's verdicts; its failures become reasons, never numbers."""
        try:
            async with asyncio.timeout(self._judge_timeout) as limit:
                verdicts = _checked(await self._judge.answer(exchange, questions))
        except PiUsageError as error:  # the judge's configuration, with its remedy
            reason, retryable = str(error), False
        except Exception as error:
            if limit.expired():
                reason, retryable = f"the judge gave no answer within {self._judge_timeout:.3g} s", True
            else:
                logger.exception("judge %s failed", self._judge.fingerprint)
                reason, retryable = f"the judge failed: {type(error).__name__}", True
        else:
            if len(verdicts) == len(questions):
                return verdicts
            reason, retryable = f"the judge gave {len(verdicts)} verdicts for {len(questions)} questions", False
        return [Verdict.unscored(reason, method="model", retryable=retryable)] * len(questions)

    def _body(self, rubric: Rubric, leaves: Sequence[Leaf], outcomes: Sequence[_Outcome]) -> dict[str, Any]:
        scores = [outcome.verdict.score for outcome in outcomes]
        reasons = {i: o.verdict.reason or "" for i, o in enumerate(outcomes) if o.verdict.score is None}
        try:
            body = aggregate(rubric, scores, reasons)
        except NothingScored:
            _refuse_unscored(leaves, outcomes, "No question that counts has a score, so there is no total")
            raise
        body["provenance"] = {"judge": self._judge.fingerprint, "questions": _provenance(rubric, outcomes)}
        usage = _total_usage(outcomes)
        if usage:
            body["usage"] = usage
        return body


def _checked(verdicts: object) -> list[Verdict]:
    if isinstance(verdicts, list) and all(isinstance(verdict, Verdict) for verdict in verdicts):
        return verdicts
    raise TypeError(f"a judge answers with a list of Verdict, not {type(verdicts).__name__}")


def _refuse_unscored(leaves: Sequence[Leaf], outcomes: Sequence[_Outcome], hint: str) -> None:
    missing = [(leaf, o.verdict) for leaf, o in zip(leaves, outcomes, strict=True) if o.verdict.score is None]
    if not missing:
        return
    told = "; ".join(f"question {leaf.key!r} is unscored: {verdict.reason}" for leaf, verdict in missing)
    by_code = any(leaf.scoring_type is ScoringType.PYTHON_CODE and not v.retryable for leaf, v in missing)
    raise ScoringFailed(
        f"{told}. {hint}",
        fault="code" if by_code else "judge",
        retryable=all(verdict.retryable for _, verdict in missing),
    )


def _provenance(rubric: Rubric, outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    remaining = iter(outcomes)
    nested = {
        group.label: {
            leaf.key: _made(outcome) for leaf in group.leaves if (outcome := next(remaining)).verdict.score is not None
        }
        for group in rubric.groups
    }
    return nested[None] if rubric.flat else nested  # type: ignore[return-value]


def _made(outcome: _Outcome) -> dict[str, str]:
    verdict = outcome.verdict
    made = {"method": "cache", "read": verdict.method} if outcome.cached else {"method": str(verdict.method)}
    if outcome.model:
        made["model"] = outcome.model
    if verdict.explanation:
        made["explanation"] = verdict.explanation
    return made


def _total_usage(outcomes: Sequence[_Outcome]) -> dict[str, float]:
    total: dict[str, float] = {}
    counted: set[int] = set()
    for outcome in outcomes:
        usage = outcome.verdict.usage
        if usage is None or outcome.cached or id(outcome.verdict) in counted:
            continue
        counted.add(id(outcome.verdict))
        for name in Usage.model_fields:
            value = getattr(usage, name)
            if value is not None:
                total[name] = total.get(name, 0) + value
    return total
