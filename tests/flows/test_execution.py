"""What tasks wait for."""

from flows.execution import GPU_TAG, tags_of
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset


def test_scores_wait_for_the_gpu_and_their_comparison_does_not() -> None:
    nodes = make_plan(load_preset("miniature").sections).by_name
    tags = {name: tags_of(nodes[name]) for name in ("scores.judge.tuned", "evaluate.judge", "evaluate.complex")}
    assert tags == {"scores.judge.tuned": [GPU_TAG], "evaluate.judge": [], "evaluate.complex": []}
