import pytest

from comat_core.metrics.tifa import Question, choose, score_captions


def by_common_letters(answer, choices):
    return [len(set(answer) & set(choice)) for choice in choices]


def never(_answer, _choices):
    raise AssertionError("an answer that is a choice needs no comparison")


def question(caption, text, answer, choices=("yes", "no"), element_type="object"):
    return Question(caption, text, tuple(choices), answer, element_type)


def test_an_answer_that_is_a_choice_is_taken_as_it_is():
    assert choose("no", ["yes", "no"], never) == "no"


def test_another_answer_becomes_the_nearest_choice():
    assert choose("surfboarder", ["swimmer", "surfer", "diver"], by_common_letters) == "surfer"


def test_of_equally_near_choices_the_first_is_taken():
    assert choose("x", ["a", "b"], by_common_letters) == "a"


def test_captions_weigh_alike_whatever_the_number_of_their_questions():
    questions = [
        question("a", "a dog?", "yes", element_type="animal/human"),
        question("a", "what colour?", "red", ("red", "blue"), "color"),
        question("a", "how many?", "2", ("1", "2", "3"), "counting"),
        question("a", "grass?", "yes"),
        question("b", "a cat?", "yes", element_type="animal/human"),
    ]
    answers = {
        ("a", "a dog?"): "yes",
        ("a", "what colour?"): "blue",
        ("a", "how many?"): "2",
        ("a", "grass?"): "no",
        ("b", "a cat?"): "yes",
    }
    scores = score_captions(questions, answers, never)
    assert scores.captions == {"a": 0.5, "b": 1.0}
    assert scores.score == 0.75  # over questions it would be 3 / 5
    assert scores.accuracy_by_type == {"animal/human": 1.0, "color": 0.0, "counting": 1.0, "object": 0.0}


def test_a_missing_answer_is_an_error():
    with pytest.raises(KeyError):
        score_captions([question("a", "a dog?", "yes")], {}, never)
