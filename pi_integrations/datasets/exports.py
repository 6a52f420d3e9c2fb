"""Exports of rows: a JSONL file, and tables of other libraries, each imported when it is used."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_integrations.datasets.rows import DatasetRow
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.files import ResumableJsonl

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["to_huggingface", "to_jsonl", "to_langsmith", "to_pandas"]

_EXAMPLES_AT_A_TIME = 100
# Ids of LangSmith examples are made from row ids in this namespace: another one would add every row again.
_NAMESPACE = uuid.UUID("8f6f0a4c-9d56-4d0e-9a53-6f3d1c9f2b7e")


async def to_jsonl(path: Path, job_id: str, rows: Callable[[int], AsyncGenerator[DatasetRow, None]]) -> int:
    """Number of rows appended; see `PiDataset.ato_jsonl`. `rows` gives the job's rows from a number on."""
    next_index = written = 0

    def check(entry: dict[str, Any], offset: int) -> str | None:
        nonlocal next_index
        index = entry.get("index")
        if entry.get("job_id") != job_id or not isinstance(index, int):
            return f"is something other than rows of job {job_id}; choose another file"
        next_index = index + 1
        return None

    resume = "write to the same file again, which continues where it stopped"
    with ResumableJsonl(path, check, head=f'{{"id": "{job_id}-', other="another file", resume=resume) as file:
        file.begin()  # there may be no row to append
        async with aclosing(rows(next_index)) as new:
            async for row in new:
                file.append(row.as_dict())
                written += 1
    return written


def to_pandas(rows: Iterable[DatasetRow]) -> pandas.DataFrame:
    """A data frame of the rows; see `PiDataset.to_pandas`."""
    try:
        import pandas
    except ImportError as error:
        raise _missing("to_pandas", error) from error
    return pandas.DataFrame([row.as_dict() for row in rows])


def to_huggingface(rows: Iterable[DatasetRow], *, streaming: bool) -> datasets.Dataset | datasets.IterableDataset:
    """A dataset of the rows; see `PiDataset.to_huggingface`."""
    try:
        import datasets
    except ImportError as error:
        raise _missing("to_huggingface", error) from error
    features = _features(datasets)
    if streaming:
        return datasets.IterableDataset.from_generator(_Rows(rows), features=features)
    return datasets.Dataset.from_list([_columns(row) for row in rows], features=features)


class _Rows:
    """Iterates the rows anew at every call."""

    def __init__(self, rows: Iterable[DatasetRow]) -> None:
        self._rows = rows
        self._name = uuid.uuid4().hex

    def __reduce__(self) -> tuple[Any, ...]:
        # The library pickles a generator to name its cache; a live stream cannot be unpickled anywhere.
        return _unpickled, (self._name,)

    def __call__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            yield _columns(row)


def _unpickled(name: str) -> _Rows:
    raise PiUsageError(
        "a streaming dataset of a live job cannot be sent to another process; write it with to_jsonl and load that"
    )


def _features(datasets: Any) -> Any:
    # Given rather than inferred: the first rows of a stream may have no scores.
    value = datasets.Value
    question = {"question": value("string"), "score": value("float64")}
    texts = {name: value("string") for name in ("id", "job_id", "llm_input", "llm_output")}
    return datasets.Features(
        {**texts, "index": value("int64"), "total_score": value("float64"), "question_scores": [question]}
    )


def _columns(row: DatasetRow) -> dict[str, Any]:
    values = {"llm_output": None, "total_score": None, **row.as_dict()}
    scores = values.pop("question_scores", None)
    listed = None if scores is None else [{"question": key, "score": score} for key, score in scores.items()]
    return {**values, "question_scores": listed}


def to_langsmith(rows: Iterable[DatasetRow], client: Any, dataset_name: str) -> int:
    """Number of examples added; see `PiDataset.to_langsmith`."""
    if client.has_dataset(dataset_name=dataset_name):
        dataset = client.read_dataset(dataset_name=dataset_name)
    else:
        dataset = client.create_dataset(dataset_name, description="Synthetic data made by a Pi job")
    added = 0
    for batch in _batches(rows):
        found = client.list_examples(dataset_id=dataset.id, example_ids=[each["id"] for each in batch])
        known = {example.id for example in found}
        if missing := [each for each in batch if each["id"] not in known]:
            client.create_examples(dataset_id=dataset.id, examples=missing)
            added += len(missing)
    return added


def _batches(rows: Iterable[DatasetRow]) -> Iterator[list[dict[str, Any]]]:
    """Examples in batches; an error of the job is raised after the rows before it."""
    batch: list[dict[str, Any]] = []
    failed: PiError | None = None
    try:
        for row in rows:
            batch.append(_example(row))
            if len(batch) == _EXAMPLES_AT_A_TIME:
                yield batch
                batch = []
    except PiError as error:
        failed = error
    if batch:
        yield batch
    if failed is not None:
        raise failed


def _example(row: DatasetRow) -> dict[str, Any]:
    outputs = None if row.llm_output is None else {"llm_output": row.llm_output}
    example_id = uuid.uuid5(_NAMESPACE, row.id)
    return {"id": example_id, "inputs": {"llm_input": row.llm_input}, "outputs": outputs, "metadata": row.metadata}


def _missing(what: str, error: ImportError) -> ImportError:
    return ImportError(f"{what} needs {error.name}; run: pip install 'pi-integrations[datasets]'", name=error.name)
