"""Background scores as feedback on the runs they belong to, in LangSmith."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from langsmith import Client
from langsmith.run_trees import get_cached_client
from langsmith.utils import LangSmithConnectionError, LangSmithRequestTimeout, get_tracer_project

from pi_integrations.background import BackgroundScore, QueuedSink
from pi_integrations.errors import PiConnectionError, PiError, PiUsageError
from pi_integrations.models import QuestionScore

__all__ = ["LangSmithFeedbackSink"]

_ATTEMPTS = 3


class LangSmithFeedbackSink(QueuedSink):
    """Writes scores to LangSmith: feedback per question and for the total, on the run named by `metadata["run_id"]`.

    It takes scores at once and sends them in a thread of its own, so that a slow LangSmith holds up neither the scorer
    nor its other sinks; `counts` reports their outcomes. Where the metadata has `trace_id` too, LangSmith's own
    client takes the feedback and sends it in batches; without, each entry is a request. Flushing the scorer flushes
    this sink and that client's queue.

    Args:
        client: A `langsmith.Client`; default the one that tracing uses.
        feedback_key: Key of the total; a question's is its label or its text. Default `pi_score`.
        project: Name of the project that the runs are in; default the one that tracing uses.
        max_queue: Scores waiting to be sent at a time; default 1,000. Scores that do not fit count as failed.
        exit_timeout: Seconds that waiting scores may hold up the exit of the interpreter; default 5.

    Raises:
        PiUsageError: when a number is out of range.

    Example:
        ```python
        from pi_integrations.background import BackgroundScorer
        from pi_integrations.langchain import LangSmithFeedbackSink


        def live_scorer(client, rubric):
            return BackgroundScorer(rubric, client=client, sink=LangSmithFeedbackSink())
        ```
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        feedback_key: str = "pi_score",
        project: str | None = None,
        max_queue: int = 1000,
        exit_timeout: float = 5.0,
    ) -> None:
        self._client = client or get_cached_client()
        writer = FeedbackWriter(self._client, feedback_key, project)
        super().__init__(writer, max_queue=max_queue, exit_timeout=exit_timeout)

    def write(self, score: BackgroundScore) -> None:
        """Takes `score`, at once.

        Raises:
            PiUsageError: when its metadata names no run.
            PiError: when the queue is full or closed.
        """
        _id(score, "run_id")
        super().write(score)

    def flush(self, timeout: float | None = None) -> bool:
        """Whether all feedback was handed to LangSmith's client within `timeout` seconds, which also covers that
        client's own sending."""
        started = time.monotonic()
        done = super().flush(timeout)
        self._client.flush(None if timeout is None else max(timeout - (time.monotonic() - started), 0.0))
        return done


class FeedbackWriter:
    """Sends the scores of one exchange at a time, and waits for LangSmith."""

    def __init__(self, client: Client, feedback_key: str, project: str | None) -> None:
        self._client = client
        self._feedback_key = feedback_key
        self._project = project
        self._project_id: UUID | None = None

    def write(self, score: BackgroundScore) -> None:
        """Sends feedback per question and for the total.

        Raises:
            PiConnectionError: when LangSmith did not answer.
            PiError: when it refused; entries that it accepted before that stay.
        """
        try:
            self._send(score)
        except PiError:
            raise
        except Exception as error:  # noqa: BLE001 (it raises many things, of its own and of its HTTP library)
            kind = PiConnectionError if isinstance(error, _UNANSWERED) else PiError
            # Later lines of LangSmith's messages show parts of the key; so may the locals of its frames.
            reason, _, _ = str(error).partition("\n")
            raise kind(f"LangSmith did not accept the feedback: {type(error).__name__}: {reason}") from None

    def _send(self, score: BackgroundScore) -> None:
        where: dict[str, Any] = {"run_id": _id(score, "run_id"), "session_id": self._session_id()}
        if score.metadata.get("trace_id") is not None:
            where["trace_id"] = _id(score, "trace_id")
        for entry in [*map(_of_question, score.result.questions()), self._of_total(score)]:
            self._client.create_feedback(
                **where,
                **entry,
                source_info=_source(score),
                feedback_source_type="model",
                stop_after_attempt=_ATTEMPTS,
            )

    def _of_total(self, score: BackgroundScore) -> dict[str, Any]:
        left_out = [outcome.key for outcome in score.result.questions() if outcome.score is None]
        comment = f"without the unscored questions: {', '.join(left_out)}" if left_out else None
        return {"key": self._feedback_key, "score": score.result.total_score, "comment": comment}

    def _session_id(self) -> UUID:
        # LangSmith has sessions for projects here; `session_id` in an application's metadata is a conversation.
        if self._project_id is None:
            name = self._project or get_tracer_project()
            self._project_id = self._client.read_project(project_name=name).id
        return self._project_id


_UNANSWERED = (LangSmithConnectionError, LangSmithRequestTimeout, OSError)


def _of_question(outcome: QuestionScore) -> dict[str, Any]:
    comment = outcome.explanation if outcome.score is not None else f"unscored: {outcome.reason}"
    return {"key": outcome.key, "score": outcome.score, "comment": comment}


def _source(score: BackgroundScore) -> dict[str, Any]:
    known = {"judge": score.result.judge, "name": score.name, "tags": list(score.tags) or None}
    return {name: value for name, value in known.items() if value is not None}


def _id(score: BackgroundScore, name: str) -> UUID:
    given = score.metadata.get(name)
    try:
        return given if isinstance(given, UUID) else UUID(str(given))
    except ValueError:
        raise PiUsageError(
            f"the metadata of a score has {name}={given!r}, which is not a LangSmith id. PiScoreCallbackHandler"
            " sets the ids of its runs; other code passes metadata={'run_id': …} to submit"
        ) from None
