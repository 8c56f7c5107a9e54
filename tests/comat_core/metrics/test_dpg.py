import pytest

from comat_core.metrics.dpg import score_image

# 1 a cat; 2 the cat is black (1); 3 the cat's hat (2).
CHAIN = {1: (), 2: (1,), 3: (2,)}
YES, NO = "yes", "no"


@pytest.mark.parametrize("mode", ["corrected", "official"])
def test_zeroing_cascades(mode):
    assert score_image({1: NO, 2: YES, 3: YES}, CHAIN, mode) == {1: 0, 2: 0, 3: 0}
    assert score_image({1: YES, 2: NO, 3: YES}, CHAIN, mode) == {1: 1, 2: 0, 3: 0}
    assert score_image({1: YES, 2: YES, 3: "Yes"}, CHAIN, mode) == {1: 1, 2: 1, 3: 0}


def test_a_parent_further_down_is_seen_before_its_own_parents_in_the_official_mode_only():
    # Question 1 depends on 2, and 2 on 3, which is answered no.
    answers, dependencies = {1: YES, 2: YES, 3: NO}, {1: (2,), 2: (3,), 3: ()}
    assert score_image(answers, dependencies, "official") == {1: 1, 2: 0, 3: 0}
    assert score_image(answers, dependencies) == {1: 0, 2: 0, 3: 0}


def test_questions_in_a_circle_are_scored():
    circle = {1: (2,), 2: (1,)}
    assert score_image({1: YES, 2: YES}, circle) == {1: 1, 2: 1}
    assert score_image({1: YES, 2: NO}, circle) == {1: 0, 2: 0}


@pytest.mark.parametrize("mode", ["corrected", "official"])
def test_a_parent_that_nobody_answered_is_an_error(mode):
    with pytest.raises(KeyError):
        score_image({2: YES}, {2: (1,)}, mode)
