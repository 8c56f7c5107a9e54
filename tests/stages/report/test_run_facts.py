"""The stages of a run as the page lists them."""

from stages.report.run_facts import read_stages
from stages.store.store import Store
from tests.stages.fake_run import make_artifact


def test_scores_stand_right_before_the_comparison_that_reads_them(store: Store) -> None:
    roles = ["evaluate.fidelity", "scores.fidelity.mine", "scores.fidelity.tuned", "scores.fidelity.base"]
    roles += [
        "distances.fidelity.tuned",
        "distances.fidelity.real",
        "scores.fidelity.real",
        "evaluate.attributes",
        "other.mine",
        "base.fidelity",
        "train",
    ]
    inputs = {role: make_artifact(store, role) for role in roles}
    assert [stage.name for stage in read_stages(inputs)] == [
        "images.base.fidelity",
        "train",
        "images.mine",
        "evaluate.attributes",
        "scores.fidelity.real",
        "scores.fidelity.base",
        "scores.fidelity.tuned",
        "scores.fidelity.mine",
        "distances.fidelity.real",
        "distances.fidelity.tuned",
        "evaluate.fidelity",
    ]
