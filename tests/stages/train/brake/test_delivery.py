"""What a training under a brake delivers, when it ends, and that a kill changes nothing of either."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import stages.train.loop as loop_module
from comat_core.training.brake import Evaluation
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.brake.examination import Examiner
from stages.train.brake.files import OUTCOME
from stages.train.learning.averages import decay_after
from stages.train.learning.state import TENSORS, TrainingState, checkpoints
from stages.train.processes.job import Job
from tests.stages.train.brake.conftest import ONE_LOSS, Verdicts

MakeConfig = Callable[..., TrainConfig]
JudgedAs = Callable[[Verdicts], None]
LORA = "lora/pytorch_lora_weights.safetensors"
CARD = "lora/README.md"


def lora_of(artifact: Artifact) -> dict[str, torch.Tensor]:
    return dict(artifact.read_tensors(LORA))


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def card_of(artifact: Artifact) -> str:
    return artifact.read_bytes(CARD).decode()


def test_it_ends_when_nothing_improves_and_delivers_a_step_whose_checkpoint_is_long_gone(
    make_braked: MakeConfig,
    inputs: dict[str, Artifact],
    judged_as: JudgedAs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged_as({(step, False): (gain, 1.0) for step, gain in enumerate([1.0, 2.0, 1.5, 1.9, 9.0, 9.0], start=1)})
    brake, kept = {"patience": 2}, {"every": 1, "keep": 1}
    store = Store(str(tmp_path / "store"))
    config = make_braked(steps=6, checkpoints=kept, brake=brake)
    original = loop_module.online_step

    def die_in_the_fourth_step(training_run: Any, state: TrainingState) -> Any:
        if state.step == 3:
            raise KeyboardInterrupt
        return original(training_run, state)

    monkeypatch.setattr(loop_module, "online_step", die_in_the_fourth_step)
    with pytest.raises(KeyboardInterrupt):
        run(config, inputs, store)
    monkeypatch.setattr(loop_module, "online_step", original)
    stopped = run(config, inputs, store)
    assert stopped.read_json(OUTCOME) == {
        "planned_steps": 6,
        "stopped_at": 4,
        "delivered_step": 2,
        "delivered_average": False,
        "gain": 2.0,
        "ratio": 1.0,
        "remark": None,
    }
    assert stopped.read_table("metrics.parquet")["step"].to_pylist() == [1, 2, 3, 4]
    assert stopped.read_table("evaluations.parquet")["step"].to_pylist() == [0, 1, 2, 3, 4]
    assert "stopped at step 4 of 6, delivered step 2" in card_of(stopped)
    assert_equal(lora_of(stopped), lora_of(run(make_braked(steps=2), inputs, store)))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["before an evaluation", "after an evaluation", "after its checkpoint"])
def test_a_kill_around_an_evaluation_changes_nothing(
    make_braked: MakeConfig,
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """All that it has: real judges, a moving average beside, lambda steered, and the end before the last step."""
    brake = {"every": 2, "budget": 0.5, "steering": {"gain": 2.0}}
    weights = {"attribute_region": 0, "attribute_pixel": 0, "fidelity": 0.5}
    online = {"average_decay": 0.5}
    config = make_braked(steps=4, weights=weights, online=online, checkpoints={"every": 1, "keep": 1}, brake=brake)
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))

    deaths = {
        "before an evaluation": (Examiner, "evaluate"),
        "after an evaluation": (loop_module, "write_record"),
        "after its checkpoint": (loop_module, "online_step"),
    }
    owner, name = deaths[place]
    original: Any = getattr(owner, name)
    calls: list[int] = []

    def die_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == (3 if name == "online_step" else 1):
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, die_once)
    disturbed = Store(str(tmp_path / "disturbed"))
    with pytest.raises(KeyboardInterrupt):
        run(config, inputs, disturbed)
    (newest,) = (tmp_path / "disturbed").rglob("step-*")
    assert newest.name == ("step-0000002" if name == "online_step" else "step-0000001")
    resumed = run(config, inputs, disturbed)
    weights_seen = undisturbed.read_table("metrics.parquet")["fidelity_weight"].to_pylist()
    assert weights_seen[:3:2] == [None, None] and 0.5 < weights_seen[1] < weights_seen[3]
    assert resumed.manifest.digest == undisturbed.manifest.digest


def test_where_nothing_keeps_to_the_budget_the_nearest_is_delivered_with_a_warning(
    make_braked: MakeConfig,
    inputs: dict[str, Artifact],
    judged_as: JudgedAs,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    judged_as({(1, False): (1.0, 1.2), (2, False): (9.0, 1.5)})
    trained = run(make_braked(steps=2), inputs, Store(str(tmp_path / "store")))
    assert trained.read_json(OUTCOME)["delivered_step"] == 1
    said = "no evaluated weights keep to the fidelity budget of 1.05; those with the smallest ratio, 1.200, are"
    assert said in caplog.text and f"**Warning:** {said}" in card_of(trained)
    assert "| 1 | 0 | 1 | 1.000 | 1.200 | delivered |" in card_of(trained)


def test_weights_that_no_judge_rates_above_the_base_are_delivered_with_a_warning(
    make_braked: MakeConfig, inputs: dict[str, Artifact], judged_as: JudgedAs, tmp_path: Path
) -> None:
    judged_as({(1, False): (-0.25, 1.0)})
    trained = run(make_braked(steps=1), inputs, Store(str(tmp_path / "store")))
    assert "no weights within the budget higher than the base model (gain -0.250)" in card_of(trained)


def test_the_average_is_delivered_where_it_is_the_better_one(
    make_braked: MakeConfig, inputs: dict[str, Artifact], judged_as: JudgedAs, tmp_path: Path
) -> None:
    judged_as({(1, False): (1, 1), (1, True): (0, 1), (2, False): (0, 1), (2, True): (3, 1)})
    online = {"average_decay": 0.5}
    job = Job(config=make_braked(steps=2, online=online), inputs=inputs, folder=tmp_path, run_name="run")
    job.run()
    plain = run(
        make_braked(steps=2, online=online).model_copy(update={"brake": None}), inputs, Store(str(tmp_path / "store"))
    )
    assert_equal(load_file(job.lora_folder / Path(LORA).name), lora_of(plain))
    assert "delivered the averaged weights of step 2" in (job.lora_folder / "README.md").read_text()


def test_without_a_brake_the_moving_average_is_delivered(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    kept, online = {"every": 1, "keep": 9}, {"average_decay": 0.3}
    config = make_config(steps=3, weights=ONE_LOSS, online=online, checkpoints=kept)
    job = Job(config=config, inputs=inputs, folder=tmp_path, run_name="run")
    job.run()
    average: dict[str, torch.Tensor] = {}
    for step, folder in enumerate(checkpoints(job.checkpoint_folder), start=1):
        tensors = load_file(folder / TENSORS)
        for name in [name for name in tensors if name.startswith("online/parameter/")]:
            own = name.removeprefix("online/parameter/")
            # The LoRA's up projections begin with zeros; those down are looked at from the first step on.
            before = average.get(own, tensors[f"average/parameter/{own}"] if "lora_A" in own else torch.zeros(()))
            decay = min(0.3, decay_after(step, 0.3))
            expected = decay * before + (1 - decay) * tensors[name]
            if step > 1 or "lora_B" in own:
                torch.testing.assert_close(tensors[f"average/parameter/{own}"], expected, atol=1e-7, rtol=1e-4)
            average[own] = tensors[f"average/parameter/{own}"]
    delivered = load_file(job.lora_folder / Path(LORA).name)
    sums = sorted(value.double().sum().item() for value in delivered.values())
    assert sums == pytest.approx(sorted(value.double().sum().item() for value in average.values()), abs=1e-6)


def test_lambda_goes_into_the_loss(
    make_braked: MakeConfig, inputs: dict[str, Artifact], judged_as: JudgedAs, tmp_path: Path
) -> None:
    judged_as({(1, False): (1, 2.1), (2, False): (1, 1.0)})
    weights = {"attribute_region": 0, "attribute_pixel": 0, "fidelity": 0.5}
    config = make_braked(steps=2, weights=weights, brake={"budget": 1.0, "steering": {"gain": 1.0, "reach": 1.5}})
    first, second = run(config, inputs, Store(str(tmp_path / "store"))).read_table("metrics.parquet").to_pylist()
    assert first["total"] == pytest.approx(first["concept_activation"] + 0.5 * first["fidelity"], rel=1e-5)
    assert first["fidelity_weight"] == 0.75, "the bound, for 2.1 is more than twice the budget"
    assert second["total"] == pytest.approx(second["concept_activation"] + 0.75 * second["fidelity"], rel=1e-5)


def test_being_watched_changes_no_step(make_braked: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    watched = make_braked(steps=3)
    histories = []
    for name, config in (("watched", watched), ("alone", watched.model_copy(update={"brake": None}))):
        job = Job(config=config, inputs=inputs, folder=tmp_path / name, run_name=name)
        job.run()
        histories.append(job.read_history())
    seen, alone = histories
    assert [{name: row[name] for name in alone[0]} for row in seen] == alone
    assert set(seen[0]) - set(alone[0]) == {"brake/vqa", "brake/clip", "brake/clip_ratio", "brake/gain"}


def test_weights_that_draw_nothing_finite_are_never_the_best(
    make_braked: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, found = Examiner.evaluate, list[Evaluation]()

    def evaluate_spoiled(examiner: Examiner, step: int, *arguments: Any, **options: Any) -> Evaluation:
        parameters = [value for name, value in examiner.run.models.online.denoiser.named_parameters() if "lora" in name]
        own = [value.detach().clone() for value in parameters]
        if step == 2:
            for value in parameters:
                value.data.fill_(torch.nan)
        found.append(original(examiner, step, *arguments, **options))
        for value, kept in zip(parameters, own, strict=True):
            value.data.copy_(kept)
        return found[-1]

    monkeypatch.setattr(Examiner, "evaluate", evaluate_spoiled)
    trained = run(make_braked(steps=2, brake={"budget": 100}), inputs, Store(str(tmp_path / "store")))
    assert found[0].is_finite and not found[1].is_finite
    assert trained.read_json(OUTCOME)["delivered_step"] == 1
