"""How an answer ended: refused by the model or its provider, cut off, or whole."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.messages import AIMessage

__all__ = ["refusal_of", "was_cut_off"]

# Names of the same two endings at different providers.
_REASON_FIELDS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_CUT = {"length", "max_tokens", "model_length", "max_output_tokens", "incomplete", "model_context_window_exceeded"}
_BLOCKED = {
    *("content_filter", "content_filtered", "guardrail_intervened", "refusal"),
    *("safety", "prohibited_content", "blocklist", "recitation", "spii"),
}


def was_cut_off(message: AIMessage) -> bool:
    """Whether the answer stopped at a limit on tokens."""
    return bool(_reasons(message) & _CUT)


def refusal_of(message: AIMessage, *, who: str) -> str | None:
    """Why there is no answer, when the model declined or a content filter stopped it; else None."""
    if message.additional_kwargs.get("refusal") or any(_is_refusal(block) for block in _blocks(message)):
        return f"the {who} refused to answer"
    if blocked := sorted(_reasons(message) & _BLOCKED):
        return f"the {who}'s provider stopped the answer ({blocked[0]})"
    return None


def _reasons(message: AIMessage) -> set[str]:
    metadata = message.response_metadata
    given = [metadata.get(field) for field in _REASON_FIELDS]
    details = metadata.get("incomplete_details")
    if isinstance(details, Mapping):
        given.append(details.get("reason"))
    return {str(reason).casefold() for reason in given if reason}


def _blocks(message: AIMessage) -> list[object]:
    return list(message.content) if isinstance(message.content, list) else []


def _is_refusal(block: object) -> bool:
    return isinstance(block, Mapping) and (block.get("type") == "refusal" or bool(block.get("refusal")))
