"""The commands as a person runs them: output files, resuming, gates, comparisons, and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import OK, fault_server
from typer.testing import CliRunner, Result

from pi_integrations import PiError
from pi_integrations.cli.app import app
from pi_integrations.cli.output_file import OutputFile
from pi_integrations.cli.rows import InputRow

SPEC = [
    {"question": "Is the answer polite?", "label": "polite"},
    {
        "question": "Is it short?",
        "label": "short",
        "scoring_type": "PYTHON_CODE",
        "python_code": (
            "def score(response_text, input_text, kwargs):\n    return {'score': float(len(response_text) < 20)}"
        ),
    },
]
ROWS = [
    {"id": "a", "llm_input": "Hi", "llm_output": "Hello!", "label": "good", "source": "chat"},
    {"id": "b", "llm_input": "Bye", "llm_output": "Go away, I do not care about you.", "label": "bad"},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a spec and two rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def score(*arguments: str, stdin: str | None = None, source: str = "rows.jsonl") -> Result:
    return run("score", source, "--spec", "spec.json", "--judge", "baseline", *arguments, stdin=stdin)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_quickstart_prints_a_table_and_writes_scores_and_a_report(tmp_path: Path) -> None:
    """Forty rows, the judge's name, how well the labels are separated."""
    result = run("quickstart", "--folder", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    for text in ("baseline/1", "not a judge", "ROC AUC of the total", "20 good and 20 bad"):
        assert text in result.output
    assert len(lines(tmp_path / "out" / "pi-scores.jsonl")) == 40
    assert "</html>" in (tmp_path / "out" / "pi-report.html").read_text()


def test_score_writes_a_line_a_row_with_scores_and_provenance(folder: Path) -> None:
    """Everything the row held is carried through."""
    assert score().exit_code == 0
    first, second = lines(folder / "pi-scores.jsonl")
    assert (first["row"], first["id"], first["label"], first["extra"]) == (1, "a", "good", {"source": "chat"})
    scores = second["scores"]
    assert isinstance(scores, dict)
    assert scores["question_scores"]["short"] == 0.0
    assert scores["provenance"]["questions"]["short"]["method"] == "code"
    assert (folder / "pi-report.html").exists()


def test_an_interrupted_run_continues_from_its_output(folder: Path) -> None:
    """The torn last line is scored again; the whole ones are not."""
    score()
    kept, torn = (folder / "pi-scores.jsonl").read_text().splitlines()
    marked = kept.replace('"total_score"', '"was_kept": true, "total_score"')
    (folder / "pi-scores.jsonl").write_text(marked + "\n" + torn[: len(torn) // 2])
    result = score()
    assert result.exit_code == 0
    assert "1 rows are scored already" in result.output
    after = lines(folder / "pi-scores.jsonl")
    assert ["was_kept" in row["scores"] for row in after] == [True, False]  # type: ignore[operator]


def test_a_row_whose_text_changed_is_scored_again(folder: Path) -> None:
    """A resumed score always belongs to the text beside it."""
    score()
    changed = [ROWS[0] | {"llm_output": "Hello again, and welcome back to our shop!"}, ROWS[1]]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    score()
    by_text = {row["llm_output"]: row["scores"] for row in lines(folder / "pi-scores.jsonl")}
    assert by_text["Hello again, and welcome back to our shop!"]["question_scores"]["short"] == 0.0  # type: ignore[index]


def test_scores_of_another_run_are_never_mixed_in(folder: Path) -> None:
    """Another mean: refused with the ways out, nothing lost; --overwrite starts anew."""
    score()
    before = (folder / "pi-scores.jsonl").read_bytes()
    result = score("--aggregation-method", "harmonic_mean")
    assert isinstance(result.exception, PiError)
    assert "--overwrite" in str(result.exception)
    assert (folder / "pi-scores.jsonl").read_bytes() == before
    assert score("--aggregation-method", "harmonic_mean", "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["rows.jsonl", "spec.json", "notes.txt", "open.txt", "other.csv", "."])
def test_no_file_but_an_output_of_score_is_ever_replaced(folder: Path, name: str) -> None:
    """Not the input, not the spec, not somebody's notes; the error says what to do."""
    (folder / "notes.txt").write_text("mine\n")
    (folder / "open.txt").write_text("a note whose line does not end")
    (folder / "other.csv").write_text("a,b\n1,2\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for option in ("--output", "--report"):
        if option == "--report" and name in ("notes.txt", "open.txt", "other.csv"):
            continue  # a report replaces the report of the run before
        result = score(option, name)
        assert isinstance(result.exception, PiError), result.output
        assert "choose another" in str(result.exception)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_overwrite_replaces_nothing_before_there_is_something_to_write(folder: Path) -> None:
    """A source that cannot be read leaves the scores of the run before."""
    score()
    before = (folder / "pi-scores.jsonl").read_bytes()
    (folder / "wrong.csv").write_text("a,b\n1,2\n")
    result = score("--overwrite", source="wrong.csv")
    assert isinstance(result.exception, PiError)
    assert (folder / "pi-scores.jsonl").read_bytes() == before


def test_what_would_fail_at_the_end_fails_at_the_start(folder: Path) -> None:
    """A report without a folder, and a comparison without a file: nothing is scored for them."""
    for arguments in (("--report", "none/report.html"), ("--compare", "none.jsonl")):
        assert isinstance(score(*arguments).exception, PiError)
    assert not (folder / "pi-scores.jsonl").exists()


def test_a_missed_threshold_exits_with_1(folder: Path) -> None:
    """So that it gates a CI job; a met one exits with 0."""
    missed = score("--threshold", "0.99")
    assert missed.exit_code == 1
    assert "Threshold 0.99 missed: the mean total 0." in missed.output
    assert score("--threshold", "0.01").exit_code == 0


def test_rows_that_cannot_be_read_are_reported_by_number(folder: Path) -> None:
    """The rest is scored; the exit status says that some rows have no score, unless so many are allowed."""
    good = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_bytes(good.encode() + b'{"llm_input": "x", "llm_out\n' + b'{"llm_output": "\xff"}\n')
    result = score()
    assert result.exit_code == 3
    for text in ("line 3", "line 4", "2 of 4 rows have no score"):
        assert text in result.output
    assert score("--max-failures", "2").exit_code == 0


def test_standard_input_csv_and_other_column_names(folder: Path) -> None:
    """`-` reads a pipe; columns are mapped by name."""
    table = 'asked,answer\n"Hi","Hello!"\n"Two\nlines","Short."\n'
    columns = ("--column", "llm_input=asked", "--column", "llm_output=answer")
    result = score("--format", "csv", *columns, source="-", stdin=table)
    assert result.exit_code == 0, result.output
    assert [row["llm_input"] for row in lines(folder / "pi-scores.jsonl")] == ["Hi", "Two\nlines"]


def test_compare_puts_two_sets_of_answers_side_by_side(folder: Path) -> None:
    """Paired by id, whatever the order; what has no partner is counted."""
    other = [ROWS[1] | {"llm_output": "Goodbye!"}, ROWS[0], {"id": "c", "llm_input": "?", "llm_output": "!"}]
    (folder / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    result = score("--compare", "other.jsonl")
    assert result.exit_code == 0, result.output
    assert "other.jsonl" in result.output
    assert "2 inputs answered in both" in result.output
    assert "1 rows left out" in result.output or "1 row left out" in result.output
    assert "+0.500" in result.output  # the code question: 1 and 0 against 1 and 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("score", "missing.jsonl", "--spec", "spec.json", "--judge", "baseline"), "missing.jsonl"),
        (("score", "rows.jsonl", "--spec", "missing.json", "--judge", "baseline"), "missing.json"),
        (("score", "rows.jsonl", "--spec", "spec.json", "--judge", "gpt"), "chat:PROVIDER:MODEL"),
        (("score", "rows.jsonl", "--spec", "spec.json"), "--judge baseline"),
        (
            ("score", "rows.jsonl", "--spec", "spec.json", "--judge", "baseline", "--base-url", "http://x"),
            "one of them",
        ),
        (("score", "rows.jsonl", "--spec", "spec.json", "--judge", "baseline", "--unscored", "zero"), "partial"),
        (("serve", "--host", "0.0.0.0"), "--api-key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_is_told_with_the_remedy(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    """And leaves no file behind."""
    result = run(*arguments)
    assert isinstance(result.exception, PiError)
    assert says in str(result.exception)
    assert not (folder / "pi-scores.jsonl").exists()


def test_errors_are_one_line_on_standard_error(folder: Path) -> None:
    """Exit status 2, no traceback."""
    command = [sys.executable, "-m", "pi_integrations", "score", "none.jsonl", "--spec", "spec.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_service_is_asked_when_no_judge_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PI_CLIENT_BASE_URL, with the key from the environment."""
    with fault_server(OK) as server:
        monkeypatch.setenv("PI_CLIENT_BASE_URL", server.url)
        monkeypatch.setenv("WITHPI_API_KEY", "k-1")
        result = run("score", "rows.jsonl", "--spec", "spec.json")
    assert result.exit_code == 0, result.output
    assert b"x-api-key: k-1" in server.requests[0]
    assert "k-1" not in result.output + (folder / "pi-report.html").read_text()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["on", "anew"])
def test_two_runs_never_write_to_one_output(folder: Path, overwrite: tuple[str, ...]) -> None:
    """The second is refused at once, also after the first has put its kept rows into a new file."""
    output = folder / "pi-scores.jsonl"
    assert score().exit_code == 0
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, ROWS[0] | {"id": "c"}]))
    run_digest = lines(output)[0]["run"]
    row = InputRow(number=3, llm_input="", llm_output="").scored(error="none")
    with OutputFile(output, str(run_digest), overwrite=False) as first:
        for _ in range(2):
            refused = score(*overwrite)
            assert isinstance(refused.exception, PiError), refused.output
            assert "another process is writing" in str(refused.exception)
            first.write(row)
    assert len(lines(output)) == 4
    assert score(*overwrite).exit_code == 0


@pytest.mark.parametrize("option", ["--output", "--report"])
def test_score_makes_no_file_with_the_name_of_standard_output(folder: Path, option: str) -> None:
    """It continues from its output, and prints a table."""
    refused = score(option, "-")
    assert isinstance(refused.exception, PiError)
    assert "FILE" in str(refused.exception)
    assert not (folder / "-").exists()
