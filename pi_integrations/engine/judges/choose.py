"""A judge from an operator's setting: `baseline`, `chat:PROVIDER:MODEL`, `local:PATH_OR_NAME`,
`object:MODULE:NAME`, or an object.
"""

from __future__ import annotations

import sys
from typing import Any

from pi_integrations.engine.judges.protocol import Judge
from pi_integrations.engine.named_object import PREFIX, named_object
from pi_integrations.errors import PiUsageError

__all__ = ["choose_judge"]

_WAYS = "give baseline, chat:PROVIDER:MODEL, local:PATH_OR_NAME, object:MODULE:NAME, a LangChain chat model, or a Judge"


def choose_judge(judge: Any) -> Judge:
    """The judge that `judge` names or is.

    Raises:
        PiUsageError: when it is neither.
        ImportError: when its extra is not installed; the message gives the pip command.
    """
    if isinstance(judge, str):
        return _imported(judge) if judge.startswith(PREFIX) else _named(judge)
    if _is_chat_model(judge):
        from pi_integrations.engine.judges.chat_model import ChatModelJudge

        return ChatModelJudge(judge)
    if isinstance(judge, Judge):
        return judge
    raise PiUsageError(f"judge is a {type(judge).__name__}; {_WAYS}")


def _named(name: str) -> Judge:
    # Each kind is imported where it is chosen: the others' packages may be missing.
    kind, _, rest = name.partition(":")
    if name == "baseline":
        from pi_integrations.engine.judges.baseline import BaselineJudge

        return BaselineJudge()
    if kind == "chat" and rest:
        from pi_integrations.engine.judges.chat_model import ChatModelJudge

        return ChatModelJudge(rest)
    if kind == "local" and rest:
        from pi_integrations.engine.judges.local import LocalJudge

        return LocalJudge(rest)
    raise PiUsageError(f"judge is {name!r}; {_WAYS}")


def _imported(name: str) -> Judge:
    found = named_object(name, "judge")
    # A class or a function makes one.
    # A class has the attributes of the protocol too, so the check of the protocol alone would take it for a judge.
    is_judge = not isinstance(found, type) and (isinstance(found, Judge) or _is_chat_model(found))
    made = found if is_judge or not callable(found) else found()
    # A string could name the object that made it, and so on without end.
    if isinstance(made, str):
        raise PiUsageError(f"judge {name} is a str; {_WAYS}")
    return choose_judge(made)


def _is_chat_model(judge: Any) -> bool:
    # A chat model's own import has loaded this module; without it there is nothing to recognise.
    module = sys.modules.get("langchain_core.language_models.chat_models")
    return module is not None and isinstance(judge, module.BaseChatModel)
