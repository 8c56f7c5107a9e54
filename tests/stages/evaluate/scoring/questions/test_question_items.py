"""Which of a run's prompts an item of a file belongs to, and what is said of those without one."""

import pytest

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.generated_images import Prompt
from stages.evaluate.scoring.questions.question_items import Item, gather_items, match_items


def prompts(*texts):
    return {f"p{index}": Prompt(f"p{index}", text, "any") for index, text in enumerate(texts)}


def match(items, *texts):
    return match_items(items, prompts(*texts), "the file")


def test_rows_of_one_id_make_one_item_wherever_they_stand():
    rows = [("1", "a cat", "q1"), ("2", "a dog", "q2"), ("1", "a  cat", "q3")]
    assert gather_items(rows) == [Item("1", "a cat", ("q1", "q3")), Item("2", "a dog", ("q2",))]


def test_rows_without_ids_make_one_item_as_long_as_the_text_is_the_same():
    rows = [(None, "a cat", "q1"), (None, "a cat", "q2"), (None, "a dog", "q3"), (None, "a cat", "q4")]
    assert gather_items(rows) == [
        Item(None, "a cat", ("q1", "q2")),
        Item(None, "a dog", ("q3",)),
        Item(None, "a cat", ("q4",)),
    ]


def test_items_with_the_same_text_go_to_the_prompts_with_that_text_one_by_one():
    items = [Item("1", "a cat", ("q1",)), Item("2", "a dog", ("q2",)), Item("3", "a cat", ("q3",))]
    matched = match(items, "a cat", "a cat", "a dog")
    assert matched.questions == {"p0": ("q1",), "p1": ("q3",), "p2": ("q2",)}
    assert (matched.lacking, matched.left_over) == ((), 0)


def test_an_item_without_a_prompt_of_its_own_is_not_mixed_into_another():
    matched = match([Item("1", "a cat", ("q1",)), Item("2", "a cat", ("q2",))], "a cat")
    assert matched.questions == {"p0": ("q1",)}
    assert matched.left_over == 1


def test_a_prompt_that_the_run_has_more_often_than_the_file_keeps_its_questions():
    assert match([Item("1", "a cat", ("q1",))], "a cat", "a cat").questions == {"p0": ("q1",), "p1": ("q1",)}


def test_pieces_without_ids_are_items_of_their_own_where_the_run_has_as_many_prompts():
    pieces = [Item(None, "a cat", ("q1",)), Item(None, "a dog", ("q2",)), Item(None, "a cat", ("q3",))]
    assert match(pieces, "a cat", "a cat").questions == {"p0": ("q1",), "p1": ("q3",)}
    assert match(pieces, "a cat").questions == {"p0": ("q1", "q3")}


@pytest.mark.parametrize(
    ("in_file", "in_run"),
    [
        ("a  café ", "a cafe\u0301"),  # white space, and an accent of its own
        ("a\u200b cat\u00a0here", "a cat here"),  # an invisible character, and a blank that does not break
        ("a cat\nhere", "a cat here"),
    ],
)
def test_texts_are_normalised_on_both_sides(in_file, in_run):
    assert match([Item("1", in_file, ("q",))], in_run).questions == {"p0": ("q",)}
    assert match([Item("1", in_run, ("q",))], in_file).questions == {"p0": ("q",)}


def test_prompts_without_questions_are_counted():
    matched = match([Item("1", "a cat", ("q1",))], "a cat", "a dog", "a cow")
    assert [prompt.text for prompt in matched.lacking] == ["a dog", "a cow"]
    assert matched.told == "2 of 3 prompts have no questions and so no score"
    assert matched.in_protocol == f"; {matched.told}"
    assert match([Item("1", "a cat", ("q1",))], "a cat").in_protocol == ""


def test_a_file_about_other_prompts_is_refused():
    with pytest.raises(UserError, match="no prompt of the run stands in the file of questions"):
        match([Item("1", "a cat", ("q1",))], "a dog")
