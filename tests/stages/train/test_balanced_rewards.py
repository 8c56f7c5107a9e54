"""Rewards brought to each other's size, and projected where they oppose each other, over a whole training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comat_core.backbones.adapters import lora_parameters
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig
from stages.train.learning.state import MARKER, TENSORS, checkpoints
from stages.train.memory_plan import plan_memory
from stages.train.models import ADAPTER_NAME, load_models
from stages.train.processes.job import Job
from stages.train.processes.launching import run_in_processes
from tests.stages.train.killed_runs import run_killed_once
from tests.stages.train.run_stage import run
from tests.tiny_captioners import save_tiny_question_answerer

MakeConfig = Callable[..., TrainConfig]
BALANCED: dict[str, Any] = {"conflicting_rewards": "project", "online": {"rank": 2, "learning_rate": 1e-3}}


@pytest.fixture
def rewards(tmp_path: Path) -> dict[str, dict[str, Any]]:
    answerer = save_tiny_question_answerer(tmp_path / "vqa")
    return {
        "contrast": {"kind": "caption_contrast", "weight": 0.5, "as_strong_as": "concept_activation"},
        "parts": {
            "kind": "yes_to_questions",
            "model": answerer,
            "weight": 2.0,
            "as_strong_as": "concept_activation",
            "weigh": "failures",
        },
    }


@pytest.mark.slow
def test_a_run_killed_in_the_middle_resumes_to_the_same_result(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any], tmp_path: Path
) -> None:
    config = make_config(steps=4, checkpoints={"every": 2, "keep": 1}, rewards=rewards, batch_size=1, **BALANCED)
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))
    resumed, _ = run_killed_once(config, inputs, Store(str(tmp_path / "disturbed")), in_step=3)
    assert resumed.manifest.digest == undisturbed.manifest.digest


def test_sizes_and_conflicts_are_logged_and_kept(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any], tmp_path: Path
) -> None:
    config = make_config(steps=2, checkpoints={"every": 2}, rewards=rewards, **BALANCED)
    job = Job(config=config, inputs=inputs, folder=tmp_path / "job", run_name="run")
    job.run()
    first, second = job.read_history()
    for row in (first, second):
        assert 0 <= row["conflicts"] <= 1 and row["factor/concept_activation"] == 1
    for role in ("reward/contrast", "reward/parts"):
        assert first[f"factor/{role}"] == 0, "not measured yet"
        own, wanted = first[f"strength/{role}"], first["strength/concept_activation"]
        assert second[f"factor/{role}"] == pytest.approx(wanted / own, rel=1e-5)
        assert first[role] != second[role]
    assert first["total"] == pytest.approx(
        sum(
            first[name]
            for name in ("concept_activation", "fidelity", "concentration_positive", "concentration_negative")
        ),
        rel=1e-4,
    )
    parts = [second[f"reward/parts/{kind}"] for kind in ("object", "attribute", "number", "relation")]
    assert sum(parts) == pytest.approx(second["reward/parts"], rel=1e-4)
    (folder,) = checkpoints(job.checkpoint_folder)
    state = json.loads((folder / MARKER).read_text())
    kept, failures = state["strengths"], state["failures"]
    assert failures["steps"] == 2
    for name in ("reward/parts/object_asked", "reward/parts/attribute_failed"):
        assert failures["counts"][name] == pytest.approx((first[name] + second[name]) / 2, rel=1e-6)
    assert kept["steps"] == 2
    mean = (first["strength/reward/parts"] ** 2 + second["strength/reward/parts"] ** 2) / 2
    assert kept["mean_squares"]["reward/parts"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.slow
def test_processes_accumulation_and_a_large_batch_train_alike(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any], tmp_path: Path
) -> None:
    def result(name: str, **changes: Any) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        config = make_config(steps=2, checkpoints={"every": 1}, rewards=rewards, **BALANCED, **changes)
        job = Job(config=config, inputs=inputs, folder=tmp_path / name, run_name="run")
        if config.processes == 1:
            job.run()
        else:
            run_in_processes(job)
        tensors = load_file(checkpoints(job.checkpoint_folder)[-1] / TENSORS)
        online = {key: value for key, value in tensors.items() if key.startswith("online/parameter/")}
        return online, job.read_history()[-1]

    large, of_large = result("large", batch_size=2, pair_batch_size=2)
    for name, changes in {
        "processes": {"processes": 2},
        "accumulated": {"gradient_accumulation": 2},
    }.items():
        other, of_other = result(name, batch_size=1, pair_batch_size=1, **changes)
        moved = sum(value.square().sum().item() for key, value in large.items() if ".lora_B." in key) ** 0.5
        gap = sum((large[key] - other[key]).square().sum().item() for key in large) ** 0.5
        print(name, gap / moved)
        assert gap < 1e-3 * moved
        for metric in ("factor/reward/parts", "strength/reward/contrast", "conflicts", "gradient_norm"):
            assert of_other[metric] == pytest.approx(of_large[metric], rel=1e-3), metric


@pytest.mark.parametrize("recomputed", [True, False])
def test_projection_changes_nothing_but_what_opposes(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any], tmp_path: Path, recomputed: bool
) -> None:
    """One step from a fresh LoRA: where no two rewards oppose each other the sum of the gradients is taken."""
    plain = {name: {**one, "as_strong_as": None} for name, one in rewards.items()}
    norms = {}
    for projected in (None, "project"):
        config = make_config(
            steps=1, rewards=plain, conflicting_rewards=projected, checkpoint_denoiser=recomputed, online={"rank": 2}
        )
        job = Job(config=config, inputs=inputs, folder=tmp_path / str(projected), run_name="run")
        job.run()
        norms[projected] = job.read_history()[0]
    assert "conflicts" not in norms[None]
    if norms["project"]["conflicts"] == 0:
        assert norms["project"]["gradient_norm"] == pytest.approx(norms[None]["gradient_norm"], rel=1e-3)
    else:
        assert norms["project"]["gradient_norm"] != norms[None]["gradient_norm"]
    assert norms["project"]["total"] == pytest.approx(norms[None]["total"], rel=1e-6)


def test_the_plan_counts_the_gradients_that_are_kept_apart(make_config: MakeConfig, rewards: dict[str, Any]) -> None:
    apart, together = (make_config(rewards=rewards, conflicting_rewards=choice) for choice in ("project", None))
    models = load_models(apart, torch.device("cpu"))
    one, other = plan_memory(apart, models), plan_memory(together, models)
    online = sum(parameter.numel() * 4 for parameter in lora_parameters(models.online.denoiser, ADAPTER_NAME))
    assert one.optimizers - other.optimizers == 4 * online


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": {"a": {"as_strong_as": "b"}}}, "rewards.a.as_strong_as names reward/b, which is off"),
        ({"rewards": {"a": {"as_strong_as": "a"}}}, "which is brought to another's size itself"),
        (
            {"rewards": {"a": {"as_strong_as": "concept_activation"}}, "weights": {"concept_activation": 0}},
            "rewards.a.as_strong_as names concept_activation, which is off",
        ),
        ({"conflicting_rewards": "project"}, "conflicting_rewards needs two rewards at least"),
        (
            {
                "brake": {
                    "every": 1,
                    "judges": {"a": {"kind": "yes_to_prompt", "model": "org/a", "as_strong_as": "concept_activation"}},
                }
            },
            "a.as_strong_as is for rewards",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make_config: MakeConfig, changes: dict[str, Any], message: str) -> None:
    for reward in changes.get("rewards", {}).values():
        reward["kind"] = "caption_contrast"
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_both_are_part_of_the_key_only_where_they_are_on(make_config: MakeConfig) -> None:
    off = make_config(rewards={"a": {"kind": "caption_contrast"}})
    assert "conflicting_rewards" not in off.key_payload() and "as_strong_as" not in off.key_payload()["rewards"]["a"]
    on = make_config(
        rewards={"a": {"kind": "caption_contrast", "as_strong_as": "concept_activation"}}, conflicting_rewards="project"
    )
    assert on.key_payload()["conflicting_rewards"] == "project"
    assert on.key_payload()["rewards"]["a"]["as_strong_as"] == "concept_activation"
