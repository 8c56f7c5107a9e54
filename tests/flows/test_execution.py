"""What a run refuses before it starts."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows.execution import GPU_TAG, started, tags_of
from stages.plan.pipeline import make_plan
from stages.plan.presets import Execution, load_preset
from stages.store.store import Store


def test_scores_wait_for_the_gpu_and_their_comparison_does_not() -> None:
    steps = make_plan(load_preset("miniature").sections).by_name
    tags = {name: tags_of(steps[name]) for name in ("scores.judge.tuned", "evaluate.judge", "evaluate.complex")}
    assert tags == {"scores.judge.tuned": [GPU_TAG], "evaluate.judge": [], "evaluate.complex": []}


@pytest.mark.parametrize(
    ("settings", "execution", "refused"),
    [
        (["latents.precision=bf16"], Execution(workers=2), True),
        (["latents.precision=bf16"], Execution(workers=1), False),
        (["train.precision=fp16"], Execution(workers=2), True),
        ([], Execution(workers=2), False),
    ],
)
def test_half_precision_is_for_one_thread_at_a_time(
    settings: list[str],
    execution: Execution,
    refused: bool,
    tmp_path: Path,
    prefect_url: str,  # noqa: ARG001
) -> None:
    plan, store = make_plan(load_preset("miniature", settings).sections), Store(str(tmp_path))
    step = settings[0].split(".")[0] if settings else ""
    if refused:
        with (
            pytest.raises(UserError, match=f"{step} loads models in half precision.*execution.runner=dask"),
            started(plan, store, execution),
        ):
            pass
    else:
        with started(plan, store, execution) as run:
            assert run.outcomes() == {}
