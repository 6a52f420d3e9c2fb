"""Files of JSON lines: resumed after a crash at any byte, one writer at a time, whole lines on a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations import PiUsageError
from pi_integrations.files import LockedFile, ResumableJsonl, run_digest
from pi_integrations.files import locked_file as locks

Entries = list[dict[str, Any]]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "numbers.jsonl"


@pytest.fixture(params=[True, False], ids=["locks", "no locks"])
def with_or_without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on Linux, and as on Windows."""
    if not request.param:
        monkeypatch.setattr(locks, "fcntl", None)
    yield


def opened(path: Path, found: dict[int, dict[str, Any]] | None = None) -> ResumableJsonl:
    """`path`, whose lines have a `number`; they go into `found` by offset."""

    def check(entry: dict[str, Any], offset: int) -> str | None:
        if found is not None:
            found[offset] = entry
        return None if "number" in entry else "has no number; choose another --output"

    return resumable(path, check)


def resumable(path: Path, check: Callable[[dict[str, Any], int], str | None] | None) -> ResumableJsonl:
    return ResumableJsonl(path, check, head='{"number": ', other="another --output", resume="run it again")


def write(path: Path, entries: Entries) -> bytes:
    with opened(path) as file:
        for entry in entries:
            file.append(entry)
    return path.read_bytes()


@given(st.lists(json_values, max_size=4), st.data())
def test_a_file_cut_at_any_byte_keeps_its_whole_lines(values: list[Any], data: st.DataObject) -> None:
    """No more and no fewer; what is appended afterwards makes the file that it would have been."""
    entries = [{"number": number, "value": value} for number, value in enumerate(values)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.jsonl"
        with opened(path) as file:
            for entry in entries:
                file.append(entry)
        whole = path.read_bytes() if entries else b""
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        found: dict[int, dict[str, Any]] = {}
        with opened(path, found) as file:
            assert list(found.values()) == entries[: whole[:cut].count(b"\n")]
            assert [file.entry_at(offset) for offset in found] == list(found.values())
            assert path.read_bytes() == whole[:cut]
            for entry in entries[len(found) :]:
                file.append(entry)
        if cut < len(whole):
            assert path.read_bytes() == whole


def test_every_byte_of_a_short_file(path: Path, with_or_without_locks: None) -> None:
    """Not only those that are drawn."""
    whole = write(path, [{"number": number, "text": "é\n"} for number in range(3)])
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        found: dict[int, dict[str, Any]] = {}
        with opened(path, found) as file:
            file.begin()
            assert path.read_bytes() == whole[: whole.rfind(b"\n", 0, cut) + 1]
        assert len(found) == whole[:cut].count(b"\n")


@pytest.mark.parametrize(
    "content", ["a note without an end", '{"text": "open', "[1]\n", "note\n", '{"number": 1}\nnote']
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path: Path, content: str) -> None:
    """The error names the line, and the option to choose another file with."""
    path.write_text(content)
    with pytest.raises(PiUsageError, match=r"line [12] has no number; choose another --output"):
        opened(path)
    assert path.read_text() == content
    assert path.with_suffix(".jsonl.resume").exists() is False
    LockedFile(path).close()  # nobody holds it


@pytest.mark.parametrize(("name", "says"), [(".", "not a regular file"), ("none/rows.jsonl", "folder does not exist")])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, name: str, says: str) -> None:
    """A folder, or a file in a folder that is missing."""
    with pytest.raises(PiUsageError, match=f"{says}.*choose another --output"):
        opened(tmp_path / name)


def test_a_second_process_is_refused_until_the_first_has_ended(path: Path) -> None:
    """Also when the first is killed."""
    code = """
    import sys, time
    from pathlib import Path
    from pi_integrations.files import ResumableJsonl
    file = ResumableJsonl(Path(sys.argv[1]), lambda *_: None, head="", other="another file", resume="")
    file.append({"number": 1})
    print("locked", flush=True)
    time.sleep(60)
    """
    first = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), path], stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert first.stdout.readline() == "locked\n"
    with pytest.raises(PiUsageError, match="another process is writing to"):
        opened(path)
    first.kill()
    first.communicate()
    assert write(path, [{"number": 2}]) == b'{"number": 1}\n{"number": 2}\n'


def test_the_lock_stays_while_the_file_is_replaced(path: Path) -> None:
    """Lines that are not kept go in one step, and the others have new offsets."""
    write(path, [{"number": number} for number in range(4)])
    found: dict[int, dict[str, Any]] = {}
    with opened(path, found) as file:
        odd = [offset for offset, entry in found.items() if entry["number"] % 2]
        places = file.keep_only(odd)
        assert [file.entry_at(place) for place in places] == [{"number": 1}, {"number": 3}]
        with pytest.raises(PiUsageError, match="another process"):
            opened(path)
        file.append({"number": 5})
    assert path.read_text() == '{"number": 1}\n{"number": 3}\n{"number": 5}\n'
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which replaces no file that is open."""
    monkeypatch.setattr(locks, "fcntl", None)
    whole = write(path, [{"number": number} for number in range(3)])
    path.write_bytes(whole[:-4])
    found: dict[int, dict[str, Any]] = {}
    with opened(path, found) as file:
        file.keep_only(list(found)[1:])
        file.append({"number": 2})
    assert path.read_text() == '{"number": 1}\n{"number": 2}\n'


def test_the_package_imports_without_fcntl() -> None:
    """And so do the sinks."""
    code = "import sys; sys.modules['fcntl'] = None; import pi_integrations.files, pi_integrations.background"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_without_a_check_the_contents_are_replaced_by_the_first_line(path: Path) -> None:
    """And not before it."""
    path.write_text("note\n")
    with resumable(path, None):
        pass
    assert path.read_text() == "note\n"
    with resumable(path, None) as file:
        file.append({"number": 1})
        file.append({"number": 2})
    assert path.read_text() == '{"number": 1}\n{"number": 2}\n'


def test_a_new_file_without_lines_is_removed(tmp_path: Path) -> None:
    """One that was there before stays, and so does one that was begun."""
    there = tmp_path / "there.jsonl"
    there.touch()
    for path in (there, tmp_path / "new.jsonl"):
        opened(path).close()
    assert list(tmp_path.iterdir()) == [there]
    with opened(tmp_path / "new.jsonl") as file:
        file.begin()
    assert (tmp_path / "new.jsonl").exists()


def test_another_s_file_in_its_place_is_not_removed(path: Path) -> None:
    """Deleted and made anew by somebody else while it was open."""
    file = opened(path)
    path.unlink()
    path.touch()
    file.close()
    assert path.exists()


def test_a_file_that_was_replaced_before_it_was_locked_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or lines would go into a file that nobody finds."""
    path.touch()
    lock = LockedFile._lock

    def late(file: LockedFile, wait: bool) -> None:
        monkeypatch.setattr(LockedFile, "_lock", lock)
        path.unlink()
        lock(file, wait)

    monkeypatch.setattr(LockedFile, "_lock", late)
    assert write(path, [{"number": 1}]) == b'{"number": 1}\n'


def test_a_full_disk_leaves_whole_lines_and_says_how_to_go_on(path: Path) -> None:
    """Also when there is no room for a second file to replace the first."""
    code = """
    import resource, sys
    from pathlib import Path
    from pi_integrations import PiUsageError
    from pi_integrations.files import ResumableJsonl
    path, offsets = Path(sys.argv[1]), []

    def opened():
        offsets.clear()
        return ResumableJsonl(
            path, lambda entry, offset: offsets.append(offset), head="{", other="another file", resume="try again"
        )

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with opened() as file:
        file.append({"text": "x" * 5_000})
        limit(8_000)
        try:
            file.append({"text": "y" * 5_000})
        except PiUsageError as error:
            print(error)
        file.append({"text": "z"})
    with opened() as file:
        limit(1_000)
        try:
            file.keep_only(offsets)
        except PiUsageError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    says = f"cannot write {path}: File too large. Choose another file, or make room and try again"
    assert done.stdout.splitlines() == [says, says]
    assert [len(json.loads(line)["text"]) for line in path.read_text().splitlines()] == [5_000, 1]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    """It has a copy of all that was open; the parent's lock ends with the parent's file, and not with the child's."""
    file = LockedFile(path)
    read, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done)
        file.close()
        os.read(read, 1)
        os._exit(0)
    try:
        with pytest.raises(BlockingIOError):
            LockedFile(path)
        file.close()
        LockedFile(path).close()
    finally:
        os.close(read)
        os.close(done)
        os.waitpid(child, 0)


def test_numbers_that_json_does_not_have_are_refused(path: Path) -> None:
    """Before anything is written."""
    with opened(path) as file:
        with pytest.raises(ValueError, match="JSON"):
            file.append({"number": float("nan")})
    assert not path.exists()


def test_a_digest_stands_for_its_parts_in_any_order() -> None:
    """Files name it in every line: another digest for the same run would make none of them resumable."""
    assert run_digest(a=1, b=[None, "x"]) == run_digest(b=[None, "x"], a=1) == "601e5732700dd10f"
    assert run_digest(a=2, b=[None, "x"]) != run_digest(a=1, b=[None, "x"])
