"""What the answer of a run is that has ended: read once, when it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.background.absorbed_errors import ABSORBED_ERRORS
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.resumed import asked_of, texts_held
from pi_integrations.langchain.run_answers import last_message, model_output, read_answer, written_message

__all__ = ["Reading", "read_run"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The exchange of a run, or why there is none.

    Attributes:
        exchange: The arguments of `submit`; None when the run ended without an answer.
        error: What came of trying to read it.
        held: The texts of the state that its graph's question may be found in.
        message_id: Of the last message in the outputs.
        response_id: Of the model's message.
    """

    exchange: dict[str, Any] | None = None
    error: BaseException | None = None
    held: Mapping[str, str] = field(default_factory=dict)
    message_id: str | None = None
    response_id: str | None = None


def read_run(reader: ExchangeReader, run: OpenRun, outputs: Any) -> Reading:
    """What `run` answered to what its graph or itself was asked."""
    try:
        inputs, documents = asked_of(run, outputs)
        exchange = read_answer(reader, inputs, outputs, documents)
        if exchange is None:
            return Reading()
        return Reading(
            exchange,
            held={} if run.pending is None else texts_held(run.pending, outputs),
            message_id=getattr(last_message(outputs), "id", None),
            response_id=_response_id(run, outputs),
        )
    except ABSORBED_ERRORS as error:
        return Reading(error=error)


def _response_id(run: OpenRun, outputs: Any) -> str | None:
    written = written_message(outputs)
    if getattr(written, "id", None) is None and run.response is not None:
        written = model_output(run.response)
    return getattr(written, "id", None)
