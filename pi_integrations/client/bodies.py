"""Bodies: a request as JSON, and the typed value of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from pi_integrations.client.refusals import status_error
from pi_integrations.client.transport import Answer
from pi_integrations.errors import PiConnectionError, PiResponseError, PiUsageError
from pi_integrations.models import describe, render

__all__ = ["JsonReader", "json_body"]

T = TypeVar("T")


def json_body(request: BaseModel, *, only: set[str] | None = None) -> bytes:
    """`request` as JSON, without what is None; `only` these of its fields, when given.

    Raises:
        PiUsageError: when it holds what JSON cannot say.
    """
    try:
        return request.__pydantic_serializer__.to_json(request, exclude_none=True, include=only)
    except (PydanticSerializationError, UnicodeError) as error:
        raise PiUsageError(
            f"the request cannot be written as JSON: {error}. kwargs holds plain JSON values; texts are valid Unicode"
        ) from None


class JsonReader(Generic[T]):
    """Reads the `kind` of value that a whole answer should hold; called with the method, the path and the answer.

    Args:
        kind: A type that pydantic can validate.
        named: What the value is called in errors.
        hints: What to try, by error status; see `status_error`.
    """

    def __init__(self, kind: Any, named: str, *, hints: Mapping[int, str] | None = None) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._named = named
        self._hints = hints

    def __call__(self, method: str, path: str, answer: Answer) -> T:
        """The value.

        Raises:
            PiStatusError: when the status is not 2xx.
            PiConnectionError: when the body is cut off.
            PiResponseError: when it holds something else.
        """
        if not 200 <= answer.status < 300:
            raise status_error(method, path, answer, hints=self._hints)
        try:
            return self._adapter.validate_json(answer.body)
        except ValidationError as error:
            problems = describe(error)
        if problems[0]["type"] == "json_invalid" and "EOF" in problems[0]["msg"]:
            raise PiConnectionError(
                f"{method} {path} answered {answer.status} with a body that ends after {len(answer.body)} bytes,"
                " before its JSON does: it was cut off."
            )
        kind = answer.headers.get("content-type", "no content type")
        raise PiResponseError(
            f"{method} {path} answered {answer.status} ({kind}) with something other than {self._named}:"
            f" {render(problems)}. Check that base_url points at a Pi API."
        )
