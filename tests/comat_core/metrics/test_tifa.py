from comat_core.metrics.tifa import choose


def by_common_letters(answer, choices):
    return [len(set(answer) & set(choice)) for choice in choices]


def never(_answer, _choices):
    raise AssertionError("an answer that is a choice needs no comparison")


def test_an_answer_that_is_a_choice_is_taken_as_it_is():
    assert choose("no", ["yes", "no"], never) == "no"


def test_another_answer_becomes_the_nearest_choice():
    assert choose("surfboarder", ["swimmer", "surfer", "diver"], by_common_letters) == "surfer"


def test_of_equally_near_choices_the_first_is_taken():
    assert choose("x", ["a", "b"], by_common_letters) == "a"
