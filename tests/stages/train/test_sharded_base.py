"""A base spread over processes: it trains and resumes as a whole one; what does not go with it is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from stages.store.artifacts import Artifact
from stages.train import TrainConfig
from stages.train.data.dataset import TrainingData, prepared
from stages.train.hardware import HardwareSettings
from stages.train.learning.state import TENSORS, checkpoints
from stages.train.memory_plan import plan_memory
from stages.train.models import load_models
from stages.train.processes.job import Job
from tests.sharded_networks import first_of_two
from tests.stages.train.conftest import make_inputs
from tests.stages.train.test_data_parallel import Parameters, distance
from tests.stages.train.two_processes import in_two_processes
from tests.tiny_captioners import save_tiny_question_answerer
from tests.tiny_models import LATENT_CHANNELS, LATENT_SIDE

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")
STEPS = 2
TOLERANCE = {"sd": 1e-3, "sd3": 0}
"""Largest distance between two results, over the distance that the last step has moved the parameters. A UNet's skip
connections add up their float32 gradients in another order, which AdamW's first steps blow up."""
SHARDED = {"shard_base": True, "recompute_blocks": True}
FIDELITY_ALONE = {"concept_activation": 0, "attribute_region": 0, "attribute_pixel": 0}
MAPS_ALONE = {"concept_activation": 0, "fidelity": 0}
REWARDS = {"clip": {"kind": "clip_similarity", "model": "a/b", "weight": 1}}


@pytest.fixture(scope="session")
def uneven_inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Of the prompts of a step one has entities and one has none: two processes build different graphs."""
    shape = (LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
    inputs = make_inputs(tmp_path_factory.mktemp("inputs"), shape, without_entities={0, 2})
    folder = tmp_path_factory.mktemp("data") / "data"
    with prepared(inputs, folder):
        data = TrainingData(inputs, folder, seed=5)
        assert [bool(data.batch(number, 1, 1).entities[0]) for number in range(2)] == [True, False]
    return inputs


def parameters_after(job: Job, step: int) -> Parameters:
    tensors = load_file(checkpoints(job.checkpoint_folder)[step - 1] / TENSORS)
    learners = ("online/parameter/", "discriminator/parameter/")
    return {name: value for name, value in tensors.items() if name.startswith(learners)}


def work_together(job: Job) -> None:
    with job.prepared():
        in_two_processes(lambda _rank: job.work())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd", "sd3"])
def test_two_processes_train_and_resume_as_with_a_whole_base(
    config_of: MakeConfig, uneven_inputs: dict[str, Artifact], tmp_path: Path, family: str
) -> None:
    """With SD3 each has two of three prompts to judge by, too, and lends its share for validation images."""
    drawing: dict[str, Any] = {"tracking": {"validation_every": 0}}
    if family == "sd3":
        judge = {"kind": "yes_to_prompt", "model": save_tiny_question_answerer(tmp_path / "vqa")}
        drawing = {
            "brake": {"every": STEPS, "prompts": 3, "judges": {"vqa": judge}},
            "tracking": {"validation_every": STEPS, "validation_prompts": ("a red circle",)},
        }

    def job(name: str, hardware: dict[str, Any]) -> Job:
        config = config_of(
            family,
            processes=2,
            batch_size=1,
            steps=STEPS,
            checkpoints={"every": 1},
            sampling={"num_inference_steps": 3, "tau_range": (0, 999)},
            hardware=hardware,
            **drawing,
        )
        return Job(config=config, inputs=uneven_inputs, folder=tmp_path / name, run_name="run")

    whole, sharded, resumed = job("whole", {}), job("sharded", SHARDED), job("resumed", SHARDED)
    work_together(whole)
    work_together(sharded)
    expected, found = parameters_after(whole, STEPS), parameters_after(sharded, STEPS)
    before = parameters_after(whole, 1)
    for role in ("online", "discriminator"):
        gap = distance(found, expected, role) / distance(before, expected, role)
        print(f"{family}, {role}: {gap:.3g} of the last step apart")
        assert gap <= TOLERANCE[family]
    lora = next(whole.lora_folder.glob("*.safetensors")).name
    assert load_file(sharded.lora_folder / lora).keys() == load_file(whole.lora_folder / lora).keys()

    first = checkpoints(sharded.checkpoint_folder)[0]
    shutil.copytree(first, resumed.checkpoint_folder / first.name)
    work_together(resumed)
    again = parameters_after(resumed, STEPS)
    assert again.keys() == found.keys()
    assert all(torch.equal(again[name], found[name]) for name in found)
    assert resumed.read_history() == sharded.read_history()


def test_the_plan_counts_a_share_of_the_base_and_what_is_gathered(config_of: MakeConfig) -> None:
    """Before the base is spread, as `comat doctor` plans, and afterwards, when one process cannot call it alone."""
    config = config_of("sd3", processes=2, weights=FIDELITY_ALONE, hardware=SHARDED)
    models = load_models(config, CPU)
    plan = plan_memory(config, models)
    whole = plan_memory(config.model_copy(update={"hardware": HardwareSettings(recompute_blocks=True)}), models)
    denoiser = models.online.denoiser_label
    assert plan.gathered.keys() == {denoiser, *models.online.text_encoders}
    for name, size in whole.parameters.items():
        assert plan.parameters[name] == pytest.approx(size / 2 if name in plan.gathered else size, rel=0.02)
    assert plan.activations == whole.activations
    assert "gathered at most" in str(plan) and "gathered at most" not in str(whole)
    above, above_whole = (one.peak - sum(one.parameters.values()) for one in (plan, whole))
    assert above == above_whole + plan.gathered[denoiser]
    with first_of_two():
        assert plan_memory(config, load_models(config, CPU, sharded=True)) == plan


def test_what_visits_is_not_spread(config_of: MakeConfig) -> None:
    hardware = {"shard_base": True, "offload": True}
    config = config_of("sd3", processes=2, weights=FIDELITY_ALONE, hardware=hardware)
    with first_of_two():
        models = load_models(config, CPU, sharded=True)
        plan = plan_memory(config, models)
    assert plan.gathered.keys() == {"transformer"}
    for name, encoder in models.online.text_encoders.items():
        assert plan.visiting[name] == 4 * sum(value.numel() for value in encoder.parameters())


def test_it_is_no_part_of_the_key(make_config: MakeConfig) -> None:
    assert make_config(processes=2).key_payload() == make_config(processes=2, hardware=SHARDED).key_payload()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"processes": 1}, "needs processes of 2 or more"),
        ({"hardware": {"channels_last": True}}, "does not go with hardware.channels_last"),
        ({"hardware": {"compile_backend": "inductor"}}, "does not go with hardware.compile_backend"),
        ({"base_quantisation": {"kind": "torchao"}}, "does not go with base_quantisation"),
        ({"weights": MAPS_ALONE}, "needs a reward or fidelity beside attribute concentration"),
        (
            {"weights": {"fidelity": 0}, "rewards": REWARDS, "conflicting_rewards": "project"},
            "with conflicting_rewards needs fidelity beside attribute concentration",
        ),
        (
            {"sampling": {"scheduler": "ddim", "start_steps": (0, 1)}},
            "does not go with sampling.start_steps while real images are denoised",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(make_config: MakeConfig, changes: dict[str, Any], problem: str) -> None:
    hardware = {"shard_base": True, **changes.pop("hardware", {})}
    with pytest.raises(ValidationError, match=f"hardware.shard_base {problem}"):
        make_config(**{"processes": 2, **changes}, hardware=hardware)
