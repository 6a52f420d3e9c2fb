"""Reading exchanges from JSONL, CSV and streams: what is read, what is refused, and that reading continues."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.cli.rows import InputRow, parse_columns, read_rows
from pi_integrations.errors import PiUsageError

GOOD = b'{"llm_input": "Hi", "llm_output": "Hello!"}\n'


def rows_of(data: bytes, **options: Any) -> list[InputRow]:
    return list(read_rows(io.BytesIO(data), **options))


def test_a_column_that_happens_to_be_called_label_may_hold_anything() -> None:
    """It is carried through; only a column named with --column label=… has to hold labels."""
    line = b'{"llm_input": "Q", "llm_output": "A", "label": "billing"}\n'
    (row,) = rows_of(line)
    assert (row.error, row.label, row.positive) == (None, "billing", None)


def test_jsonl_row_carries_every_field_and_the_other_columns() -> None:
    """Number, id, texts, label and its meaning, and what else the line holds."""
    line = {"id": 7, "llm_input": "Q", "llm_output": "A", "label": "good", "source": "chat", "turn": 2}
    assert rows_of(json.dumps(line).encode()) == [
        InputRow(1, "7", "Q", "A", label="good", positive=True, extra={"source": "chat", "turn": 2})
    ]


def test_numbers_are_line_numbers_and_blank_lines_are_skipped() -> None:
    """A blank line counts as a line, so that numbers match an editor's."""
    assert [row.number for row in rows_of(GOOD + b"\n  \n" + GOOD)] == [1, 4]


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    """Files of spreadsheet programs begin with one, in both formats."""
    assert rows_of(b"\xef\xbb\xbf" + GOOD)[0].error is None
    assert rows_of(b"\xef\xbb\xbfllm_input,llm_output\na,b\n", format="csv")[0].llm_input == "a"


@dataclass(frozen=True)
class Broken:
    name: str
    line: bytes
    says: tuple[str, ...]


BROKEN = [
    Broken("truncated", b'{"llm_input": "Q", "llm_output": "A', ("breaks off",)),
    Broken("truncated after a value", b'{"llm_input": "Q"', ("breaks off",)),
    Broken("no JSON", b"hello", ("not valid JSON", "column 1")),
    Broken("an array", b'["Q", "A"]', ("an array where an object belongs",)),
    Broken("null", b"null", ("null where an object belongs",)),
    Broken("invalid UTF-8", b'{"llm_input": "\xff", "llm_output": "A"}', ("not valid UTF-8", "0xff", "save the file")),
    Broken("missing output", b'{"llm_input": "Q", "answer": "A"}', ("llm_output is missing", "'answer'", "--column")),
    Broken("number as output", b'{"llm_input": "Q", "llm_output": 3}', ("llm_output is a number, not a string",)),
    Broken("null as input", b'{"llm_input": null, "llm_output": "A"}', ("llm_input is null, not a string",)),
    Broken("object as id", b'{"id": {}, "llm_input": "Q", "llm_output": "A"}', ("id is an object",)),
    Broken("half a pair", rb'{"llm_input": "\ud83d", "llm_output": "A"}', ("llm_input holds half a character",)),
    Broken("unknown label", b'{"llm_input": "Q", "llm_output": "A", "label": "meh"}', ("'meh'", "good or bad")),
    Broken("label out of range", b'{"llm_input": "Q", "llm_output": "A", "label": 4}', ("4 is outside 0 to 1",)),
    Broken("nested too deep", b"[" * 200_000, ("cannot be read",)),
    Broken("endless number", b'{"llm_input": ' + b"9" * 5_000 + b"}", ("cannot be read",)),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_line_is_reported_and_reading_continues(case: Broken) -> None:
    """The error gives the line, the field and the remedy; the lines around it are read."""
    before, broken, after = rows_of(GOOD + case.line + b"\n" + GOOD, columns={"label": "label"})
    assert before.error is None
    assert after.error is None
    assert broken.error is not None
    assert broken.error.startswith("line 2: ")
    for words in case.says:
        assert words in broken.error


def test_an_overlong_line_is_refused_and_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over the limit is reported; the next line is read."""
    monkeypatch.setattr("pi_integrations.cli.records.MAX_LINE_BYTES", 100)
    long = b'{"llm_input": "' + b"x" * 500 + b'", "llm_output": "A"}\n'
    first, second = rows_of(long + GOOD)
    assert first.error is not None
    assert "longer than" in first.error
    assert (second.number, second.error) == (2, None)


def test_a_broken_row_keeps_its_id() -> None:
    """The id helps to find the row when its line number is of no use."""
    assert rows_of(b'{"id": "x-1", "llm_input": "Q"}')[0].id == "x-1"


def test_a_json_array_file_is_refused_with_the_way_out() -> None:
    """One array over many lines is a common mistake: one clear error instead of one a line."""
    with pytest.raises(PiUsageError, match="JSON array, not JSONL"):
        rows_of(b'[\n{"llm_input": "Q", "llm_output": "A"}\n]')


def test_a_utf_16_file_is_refused_with_the_way_out() -> None:
    """Its byte order mark gives it away."""
    with pytest.raises(PiUsageError, match="UTF-16; save it as UTF-8"):
        rows_of("llm_input,llm_output\n".encode("utf-16"), format="csv")


def test_csv_reads_line_breaks_quotes_and_null_bytes_inside_quotes() -> None:
    """A quoted field holds anything; the number counts rows, not lines."""
    first, second = rows_of(b'llm_input,llm_output,label\n"a\nb ""c""",x\x00y,1\nd,e,0\n', format="csv")
    assert (first.number, first.llm_input, first.llm_output, first.positive) == (1, 'a\nb "c"', "x\x00y", True)
    assert (second.number, second.llm_input, second.positive) == (2, "d", False)


def test_csv_reads_a_field_of_a_megabyte() -> None:
    """The csv module's own limit is 128 KiB."""
    assert len(rows_of(b"llm_input,llm_output\nq," + b"x" * 1_000_000, format="csv")[0].llm_output) == 1_000_000


BROKEN_CSV = [
    Broken("too few fields", b"only", ("1 fields where the header names 2", "double quotes")),
    Broken("too many fields", b"a,b,c", ("3 fields where the header names 2",)),
    Broken("text after a quote", b'"a"b,c', ("not valid CSV", "close every quote")),
    Broken("invalid UTF-8", b"a,\xe9t\xe9", ("llm_output is not valid UTF-8 (byte 0xe9)",)),
]


@pytest.mark.parametrize("case", BROKEN_CSV, ids=lambda case: case.name)
def test_a_broken_csv_row_is_reported_and_reading_continues(case: Broken) -> None:
    """InputRow and line are both given, since they differ from each other by the header at least."""
    before, broken, after = rows_of(b"llm_input,llm_output\na,b\n" + case.line + b"\nc,d\n", format="csv")
    assert (before.error, after.error) == (None, None)
    assert broken.error is not None
    assert broken.error.startswith("row 2 (line 3): ")
    for words in case.says:
        assert words in broken.error


def test_a_quote_that_is_never_closed_is_one_error() -> None:
    """It swallows the rest of the file, and says where it began."""
    good, broken = rows_of(b'llm_input,llm_output\na,b\nc,"d\ne,f\n', format="csv")
    assert good.error is None
    assert broken.error is not None
    assert broken.error.startswith("row 2 (line 3): not valid CSV")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the CSV file is empty"),
        (b"question,answer\na,b\n", "no column 'llm_input'.*'question', 'answer'.*--column"),
        (b"llm_input,llm_input,llm_output\n", "'llm_input' twice"),
    ],
)
def test_a_csv_without_the_header_it_needs_is_refused(data: bytes, says: str) -> None:
    """Nothing can be read without it, so it is one error and not one a row."""
    with pytest.raises(PiUsageError, match=says):
        rows_of(data, format="csv")


def test_columns_can_be_mapped() -> None:
    """A mapped column is read as the field, and is not carried through a second time."""
    columns = parse_columns(["llm_output=answer", "label=grade"])
    row = rows_of(b'{"llm_input": "Q", "answer": "A", "grade": "BAD", "x": 1}', columns=columns)[0]
    assert (row.llm_output, row.positive, row.extra) == ("A", False, {"x": 1})


def test_a_mapped_label_column_must_be_in_the_csv_header() -> None:
    """Whoever names a column expects it to be there."""
    with pytest.raises(PiUsageError, match="no column 'grade'"):
        rows_of(b"llm_input,llm_output\n", format="csv", columns={"label": "grade"})


@pytest.mark.parametrize("text", ["answer", "llm_output=", "output=answer"])
def test_a_wrong_column_option_says_what_is_right(text: str) -> None:
    """No sign, no name, or no such field."""
    with pytest.raises(PiUsageError, match=r"llm_output"):
        parse_columns([text])


@pytest.mark.parametrize(
    ("label", "positive"),
    [
        ("good", True),
        (" Bad ", False),
        ("TRUE", True),
        (False, False),
        (1, True),
        (0, False),
        (0.5, True),
        (0.49, False),
        ("0.7", True),
        ("", None),
        (None, None),
    ],
)
def test_labels_in_all_their_spellings(label: object, positive: bool | None) -> None:
    """Words, booleans, numbers with .5 as the border, and no label at all; the label itself stays as it was."""
    row = rows_of(json.dumps({"llm_input": "Q", "llm_output": "A", "label": label}).encode())[0]
    assert (row.error, row.positive, row.label) == (None, positive, label)


def test_the_file_name_decides_the_format_and_the_option_overrules_it(tmp_path: Path) -> None:
    """.csv is CSV; anything else is JSONL unless said otherwise."""
    table, text = tmp_path / "a.CSV", tmp_path / "a.txt"
    table.write_bytes(b"llm_input,llm_output\na,b\n")
    text.write_bytes(b"llm_input,llm_output\na,b\n")
    assert next(read_rows(table)).llm_input == "a"
    assert next(read_rows(text, format="csv")).llm_input == "a"
    assert next(read_rows(text)).error is not None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path and the reason, without a traceback of the operating system's error."""
    with pytest.raises(PiUsageError, match=r"cannot read .*gone\.jsonl: No such file"):
        list(read_rows(tmp_path / "gone.jsonl"))


def test_text_streams_and_wrapped_standard_input_are_read() -> None:
    """A StringIO gives text; sys.stdin gives bytes through its buffer, whatever its encoding says."""
    assert next(read_rows(io.StringIO(GOOD.decode()))).llm_output == "Hello!"
    wrapped = io.TextIOWrapper(io.BytesIO('{"llm_input": "é", "llm_output": "ü"}'.encode()), encoding="ascii")
    assert next(read_rows(wrapped)).llm_output == "ü"


def test_rows_come_as_they_are_read() -> None:
    """The first rows of a stream without an end are there at once."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part = (GOOD * (len(buffer) // len(GOOD) + 1))[: len(buffer) // len(GOOD) * len(GOOD)]
            buffer[: len(part)] = part
            return len(part)

    rows = read_rows(io.BufferedReader(Endless()))
    assert [row.number for row in itertools.islice(rows, 3)] == [1, 2, 3]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_give_one_row_per_line_that_is_not_blank(lines: list[bytes]) -> None:
    """Whatever the bytes, nothing is lost and nothing raises but the two refusals of whole files."""
    data = b"\n".join(line.replace(b"\n", b"") for line in lines)
    try:
        rows = rows_of(data)
    except PiUsageError as error:
        assert "JSON array" in str(error) or "UTF-16" in str(error)
        return
    wanted = [i for i, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if line.strip()]
    assert [row.number for row in rows] == wanted


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_what_the_json_module_writes_is_read_back(pairs: list[tuple[str, str]]) -> None:
    """Line separators of Unicode inside a string do not end a line."""
    data = "\n".join(json.dumps({"llm_input": a, "llm_output": b}, ensure_ascii=False) for a, b in pairs).encode()
    assert [(row.llm_input, row.llm_output) for row in rows_of(data)] == pairs
