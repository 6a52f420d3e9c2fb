"""The one template by which everything a framework holds beside input and output enters `llm_input`.

The API has one input and one output. A reference answer, retrieved contexts, a system prompt and earlier turns are
written into `llm_input` under fixed headings, the same from every adapter, so that the same exchange gets the same
score whichever framework it came from. Absent parts leave no heading; an input alone is sent unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["compose_llm_input"]


def compose_llm_input(
    llm_input: str,
    *,
    system_prompt: str | None = None,
    history: Sequence[tuple[str, str]] = (),
    contexts: Sequence[str] = (),
    reference: str | None = None,
) -> str:
    """`llm_input` with what else belongs to the exchange, under headings and in this order.

    Args:
        llm_input: What the application was asked.
        system_prompt: Its standing instructions.
        history: Earlier turns as `(role, text)`, oldest first; roles as the framework names them, such as `user`.
        contexts: Retrieved passages, best first.
        reference: A known good answer.

    Example:
        >>> print(compose_llm_input("How long?", contexts=["Repairs take a week."]))
        ### Context
        [1] Repairs take a week.
        <BLANKLINE>
        ### Input
        How long?
    """
    before = [
        ("System prompt", system_prompt or ""),
        ("Conversation so far", "\n".join(f"{role}: {text}" for role, text in history)),
        ("Context", "\n\n".join(f"[{number}] {text}" for number, text in enumerate(contexts, start=1))),
    ]
    after = [("Reference answer", reference or "")]
    if not any(text for _, text in before + after):
        return llm_input
    sections = [*before, ("Input", llm_input), *after]
    return "\n\n".join(f"### {heading}\n{text}" for heading, text in sections if text)
