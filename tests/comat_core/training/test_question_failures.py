"""Kinds of questions weigh by how often they fail now."""

import pytest

from comat_core.training.question_failures import QuestionFailures

ROLE = "reward/parts"


def counts(**of: tuple[float, float]) -> dict[str, float]:
    """What a step logs: kind -> asked, failed."""
    found = {"total": 1.0, "reward/others/object_asked": 5.0, "reward/others/object_failed": 5.0}
    for kind, (asked, failed) in of.items():
        found |= {f"{ROLE}/{kind}": 9.9, f"{ROLE}/{kind}_asked": asked, f"{ROLE}/{kind}_failed": failed}
    return found


def test_a_kind_weighs_by_its_share_of_failures_over_that_of_all() -> None:
    found = QuestionFailures().after(counts(object=(2.0, 0.2), attribute=(2.0, 1.0), number=(0.0, 0.0)), [ROLE])
    weights = found.weights(ROLE)
    assert weights == pytest.approx({"object": 0.1 / 0.3, "attribute": 0.5 / 0.3, "number": 0.0})
    assert sum(weights[kind] * 2.0 for kind in ("object", "attribute")) == pytest.approx(4.0), "1 on average"


def test_shares_are_of_running_counts_so_that_rare_questions_count_by_their_number() -> None:
    found = QuestionFailures()
    for step in (counts(object=(3.0, 3.0), attribute=(1.0, 0.0)), counts(object=(1.0, 0.0), attribute=(1.0, 1.0))):
        found = found.after(step, [ROLE])
    assert found.weights(ROLE) == pytest.approx({"object": 0.75 / (4 / 6), "attribute": 0.5 / (4 / 6)})
    assert QuestionFailures.model_validate_json(found.model_dump_json()) == found


def test_where_nothing_is_known_or_fails_all_weigh_alike() -> None:
    assert QuestionFailures().weights(ROLE) == {}
    assert QuestionFailures().after(counts(object=(2.0, 0.0)), [ROLE]).weights(ROLE) == {}
