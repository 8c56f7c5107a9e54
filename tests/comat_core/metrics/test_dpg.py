import pytest

from comat_core.metrics.dpg import Question, group_questions, score_image, score_prompts

# Prompt a: 1 a cat; 2 the cat is black (1); 3 the cat's hat (2). Prompt b: 1 a lake; 2 the lake is frozen (1).
ROWS = [
    Question("a", 1, "0", "entity - whole"),
    Question("a", 2, "1", "attribute - color"),
    Question("a", 3, "2", "entity - whole"),
    Question("b", 1, "0", "entity - whole"),
    Question("b", 2, "1", "attribute - state"),
]
YES, NO = "yes", "no"


def test_zeroing_cascades():
    questions = group_questions(ROWS)["a"]
    assert score_image({1: NO, 2: YES, 3: YES}, questions) == {1: 0, 2: 0, 3: 0}
    assert score_image({1: YES, 2: NO, 3: YES}, questions) == {1: 1, 2: 0, 3: 0}
    assert score_image({1: YES, 2: YES, 3: "Yes"}, questions) == {1: 1, 2: 1, 3: 0}


def test_a_parent_further_down_is_seen_before_its_own_parents_in_the_official_mode_only():
    # Question 1 depends on 2, and 2 on 3, which is answered no.
    rows = [
        Question("x", 0, "0", ""),
        *(Question("c", n, d, "entity - whole") for n, d in ((1, "2"), (2, "3"), (3, "0"))),
    ]
    answers = {1: YES, 2: YES, 3: NO}
    assert score_image(answers, group_questions(rows, "official")["c"], "official") == {1: 1, 2: 0, 3: 0}
    assert score_image(answers, group_questions(rows)["c"]) == {1: 0, 2: 0, 3: 0}


def test_questions_in_a_circle_are_scored():
    rows = [Question("c", 1, "2", "e"), Question("c", 2, "1", "e")]
    questions = group_questions(rows)["c"]
    assert score_image({1: YES, 2: YES}, questions) == {1: 1, 2: 1}
    assert score_image({1: YES, 2: NO}, questions) == {1: 0, 2: 0}


ANSWERS = {
    "a": [{1: YES, 2: YES, 3: YES}, {1: YES, 2: NO, 3: YES}],
    "b": [{1: NO, 2: YES}, {1: YES, 2: YES}],
}


def test_corrected_scores():
    scores = score_prompts(group_questions(ROWS), ANSWERS)
    # a: images 3/3 and 1/3; b: images 0/2 and 2/2.
    assert scores.prompts == {"a": pytest.approx(200 / 3), "b": pytest.approx(50)}
    assert scores.score == pytest.approx((200 / 3 + 50) / 2)
    # attribute - color: 1, 0; attribute - state: 0, 1; entity: a's 1: 1, 1; a's 3: 1, 0; b's 1: 0, 1.
    assert scores.detailed_categories["attribute - color"] == pytest.approx(50)
    assert scores.broad_categories == {"entity": pytest.approx(400 / 6), "attribute": pytest.approx(50)}
    assert scores.skipped == ()


def test_official_scores_lose_the_first_row_and_the_prompt_that_depends_on_it():
    scores = score_prompts(group_questions(ROWS, "official"), ANSWERS, "official")
    assert scores.skipped == ("a",)
    assert scores.prompts == {"b": pytest.approx(50)}
    assert scores.score == pytest.approx(50)
    # Of the last image alone: both questions of b answered yes.
    assert scores.broad_categories == {"entity": pytest.approx(100), "attribute": pytest.approx(100)}


def test_official_categories_disregard_dependencies():
    rows = [Question("z", 1, "0", "global"), *ROWS[3:]]
    answers = {"b": [{1: NO, 2: YES}]}
    official = score_prompts(group_questions(rows, "official"), answers, "official")
    assert official.detailed_categories["attribute - state"] == 100
    assert official.score == 0
    assert score_prompts(group_questions(rows), answers).detailed_categories["attribute - state"] == 0


def test_a_missing_answer_is_an_error_in_the_corrected_mode():
    with pytest.raises(KeyError):
        score_prompts(group_questions(ROWS), {"b": [{1: YES}]})
