"""Reading the list that a model was asked to write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.engine.chat_models.replies import read_list
from pi_integrations.engine.synthesis.items import Item, may_be_item, read_item

A, B = {"llm_input": "a", "llm_output": "1"}, {"llm_input": "b", "llm_output": "2"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Sure! Here they are:\n```json\n{json.dumps([A, B])}\n```\nAnything else?", [A, B]),
        (json.dumps({"pairs": [A, B]}), [A, B]),
        (f"{json.dumps(A)}\n{json.dumps(B)}", [A, B]),
        (json.dumps(A), [A]),
        ("<think>[1, 2] or so</think>" + json.dumps([A]), [A]),
        ("[{'llm_input': 'a', 'llm_output': '1'}, {'llm_input': 'b', 'llm_output': '2'}]", [A, B]),
        ('[{"llm_input": "a", "llm_output": "1",}, {"llm_input": "b", "llm_output": "2"},]', [A, B]),
        ('[{"llm_input": "a\nb", "llm_output": "1"}]', [{"llm_input": "a\nb", "llm_output": "1"}]),
        ('[{"llm_input": "say "hi" now", "llm_output": "1"}]', [{"llm_input": 'say "hi" now', "llm_output": "1"}]),
        ('["she said "yes, ok", then"]', ['she said "yes, ok", then']),
        ('[{llm_input: "a", llm_output: "1"} {"llm_input": "b", "llm_output": "2"}]', [A, B]),
        ('[{"llm_input": "a", "llm_output": "\\d+"},]', [{"llm_input": "a", "llm_output": "\\d+"}]),
        ('{"pairs": [{"llm_input": "a", "llm_output": "1"}, {"llm_input": "b", "llm_out', [A]),
        ("[{'item': 1, 'good': True}]", [{"item": 1, "good": True}]),
        ("['it's mine', 'and yours']", ["it's mine", "and yours"]),
        ('["one", "two",]', ["one", "two"]),
        (json.dumps([{"llm_input": "C:\\0", "llm_output": "1"}])[:-1], [{"llm_input": "C:\\0", "llm_output": "1"}]),
        ('[["a", "b"], ["c", "d', [["a", "b"]]),
        ("[]", []),
        (json.dumps({"pairs": []}), []),
        (json.dumps({"result": {"pairs": [A, B]}}), [A, B]),
        (json.dumps({"1": A, "2": B}), [A, B]),
        (json.dumps({"pairs": {"1": A, "2": B}, "count": 2}), [A, B]),
        ("[true, False]", [True, False]),
    ],
)
def test_near_valid_json_is_read(text: str, found: list[Any]) -> None:
    """Whatever stands around it."""
    assert read_list(text, may_be_item) == found


@pytest.mark.parametrize(
    "prose",
    [
        'Each has ["llm_input", "llm_output"]:',
        "Items [1, 2, 3] follow.",
        'Not {"llm_input"} alone.',
        'No ["llm_input" and "llm_output" and "more"] here.',
        f"Like {json.dumps([A])}, but new:",
    ],
)
@pytest.mark.parametrize("answer", [json.dumps([B]), json.dumps([B])[:-1] + ",]", json.dumps({"pairs": [B]})])
def test_lists_in_the_prose_before_are_not_the_answer(prose: str, answer: str) -> None:
    """Though they are longer; of equals the last counts."""
    assert read_list(f"{prose}\n{answer}", may_be_item) == [B]


def test_the_list_with_the_most_elements_of_use_is_read() -> None:
    """What is of use the caller says."""
    text = 'Of ["a", "b", "c"] these: [{"theme": "x"}]'
    assert read_list(text, may_be_item) == ["a", "b", "c"]
    assert read_list(text, lambda value: isinstance(value, dict)) == [{"theme": "x"}]


def test_a_number_too_long_to_read_is_no_error() -> None:
    """Python refuses more than 4,300 digits; what stands before it counts."""
    assert read_list(f'["a", {"9" * 5000}, "b"]', may_be_item) == ["a"]


@pytest.mark.parametrize("text", ["", "No.", "1. one\n2. two", "I like {braces} and [brackets].", "null", "<think>[1]"])
def test_prose_holds_no_list(text: str) -> None:
    """Not even where it has brackets."""
    assert read_list(text, may_be_item) is None


@given(
    st.lists(st.fixed_dictionaries({"llm_input": st.text(), "llm_output": st.text()}), min_size=1, max_size=4),
    st.data(),
)
def test_of_a_list_that_was_cut_off_the_whole_elements_are_read(
    items: list[dict[str, str]], data: st.DataObject
) -> None:
    """And nothing that is not whole, wherever the cut is."""
    text = json.dumps(items)
    cut = data.draw(st.integers(min_value=0, max_value=len(text)))
    found = [read_item(value, "pairs") for value in read_list(text[:cut], may_be_item) or []]
    whole = [Item(item["llm_input"].strip(), item["llm_output"].strip()) for item in items]
    kept = [item for item in found if item is not None]
    assert set(kept) <= set(whole)
    if cut == len(text):
        assert kept == [item for item in whole if item.llm_input and item.llm_output]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.data())
def test_of_texts_that_were_cut_off_the_whole_ones_are_read(texts: list[str], data: st.DataObject) -> None:
    """As with objects."""
    text = json.dumps(texts)
    cut = data.draw(st.integers(min_value=0, max_value=len(text)))
    assert (read_list(text[:cut], may_be_item) or []) == texts[: len(read_list(text[:cut], may_be_item) or [])]


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    """Also one that begins like a list."""
    read_list(text, may_be_item)
    read_list("[" + text, may_be_item)
    read_list('[{"' + text, may_be_item)


def test_deep_and_endless_answers_are_read_in_time() -> None:
    """A hostile model costs no more than a moment."""
    for text in ("[" * 100_000, '["' * 100_000, '{"a":' * 100_000, "[{'" * 50_000, "[1," * 50_000, '["a" x ' * 50_000):
        read_list(text, may_be_item)


@pytest.mark.parametrize(
    ("value", "form", "item"),
    [
        ({"llm_input": " a ", "llm_output": "b\n"}, "pairs", Item("a", "b")),
        ({"llm_input": "a", "llm_output": {"total": 1}}, "pairs", Item("a", '{"total": 1}')),
        ({"llm_input": "a"}, "pairs", None),
        ({"llm_input": "a", "llm_output": "  "}, "pairs", None),
        ({"llm_input": "a", "llm_output": None}, "pairs", None),
        ({"llm_input": "2 + 3?", "llm_output": 5}, "pairs", Item("2 + 3?", "5")),
        ({"llm_input": "Spam?", "llm_output": False}, "pairs", Item("Spam?", "false")),
        ({"llm_input": 0, "llm_output": 0.5}, "pairs", Item("0", "0.5")),
        ("a", "pairs", None),
        (" a", "inputs", Item("a")),
        ({"llm_input": "a"}, "inputs", Item("a")),
        ("  ", "inputs", None),
        (7, "inputs", None),
    ],
)
def test_an_item_has_all_its_texts(value: Any, form: str, item: Item | None) -> None:
    """Anything else is malformed."""
    assert read_item(value, form) == item
