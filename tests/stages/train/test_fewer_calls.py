"""Training that leaves calls of the network out: guidance in an interval, and starts in the middle of the walks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DConditionModel

from benchmarks.network_calls import counted_calls
from comat_core.support.errors import UserError
from stages import latents
from stages.latents import LatentsConfig
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from tests.stages.train.killed_runs import run_killed_once

MakeConfig = Callable[..., TrainConfig]
STEPS = 4
SAMPLING: dict[str, Any] = {"scheduler": "ddim", "num_inference_steps": STEPS, "guidance_scale": 3.0}
FEWER: dict[str, Any] = SAMPLING | {"gradient_steps": 1, "attention_steps": 1, "start_steps": [0, 2, 3]}
QUIET = {"images_every": 0, "validation_every": 0}


@pytest.fixture(scope="module")
def kept(inputs: dict[str, Artifact], tiny_sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The inputs of training, with latents whose stage has kept states."""
    config = LatentsConfig.model_validate(
        {
            "seed": 5,
            "resolution": 32,
            "base": {"path": str(tiny_sd_folder)},
            "sampling": SAMPLING,
            "kept_steps": [2, 3],
            "device": "cpu",
        }
    )
    store = Store(str(tmp_path_factory.mktemp("kept")))
    return inputs | {"latents": latents.run(config, {"prompts": inputs["prompts"]}, store)}


def test_a_run_from_states_killed_in_the_middle_resumes_to_the_same_result(
    make_config: MakeConfig, kept: dict[str, Artifact], tmp_path: Path
) -> None:
    config = make_config(steps=4, sampling=FEWER, checkpoints={"every": 2}, tracking=QUIET)
    undisturbed = run(config, kept, Store(str(tmp_path / "undisturbed")))
    resumed, begun = run_killed_once(config, kept, Store(str(tmp_path / "disturbed")), in_step=3)
    assert begun == [0, 1, 2, 3, 2, 3]
    assert resumed.manifest.digest == undisturbed.manifest.digest
    card = undisturbed.read_bytes("lora/README.md").decode()
    assert "| first denoising step | drawn from 0, 2, 3 |" in card


def test_the_calls_of_a_training_are_as_many_as_its_settings_say(
    make_config: MakeConfig, kept: dict[str, Artifact], tmp_path: Path
) -> None:
    alike: dict[str, Any] = {
        "steps": 2,
        "mixed_latents": False,
        "weights": {"fidelity": 0.0},
        "tracking": QUIET,
        "checkpoint_denoiser": False,
    }

    def counted(name: str, **sampling: Any) -> tuple[int, int]:
        config = make_config(sampling=FEWER | {"start_steps": None} | sampling, **alike)
        with counted_calls(UNet2DConditionModel) as calls:
            run(config, kept, Store(str(tmp_path / name)))
        return calls.calls, calls.rows

    prompts, halves = 2, 2
    assert counted("plain") == (2 * STEPS, 2 * STEPS * prompts * halves)
    assert counted("from the middle", start_steps=[2]) == (2 * 2, 2 * 2 * prompts * halves)
    assert counted("never guided", guidance_interval=[0.5, 0.6]) == (2 * STEPS, 2 * STEPS * prompts)
    assert counted("always guided", guidance_interval=[0, 1000]) == (2 * STEPS, 2 * STEPS * prompts * halves)


def test_an_interval_that_is_everything_gives_the_same_files(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    plain = run(make_config(steps=1), inputs, Store(str(tmp_path / "plain")))
    everything = make_config(steps=1, sampling={"guidance_interval": [0, 1000]})
    limited = run(everything, inputs, Store(str(tmp_path / "everything")))
    lora = "lora/pytorch_lora_weights.safetensors"
    assert plain.read_bytes(lora) == limited.read_bytes(lora)
    assert "| guided timesteps | 0 to 1000 |" in limited.read_bytes("lora/README.md").decode()


def test_latents_without_states_are_told(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    config = make_config(sampling=FEWER)
    with pytest.raises(UserError, match=r"hold no states of step 2 .*add 2 to latents\.kept_steps"):
        run(config, inputs, Store(str(tmp_path / "store")))


def test_what_is_off_says_nothing_in_the_keys(make_config: MakeConfig) -> None:
    payload = make_config().key_payload()["sampling"]
    assert {"guidance_interval", "start_steps"}.isdisjoint(payload)
    assert make_config(sampling=FEWER).key_payload()["sampling"]["start_steps"] == [0, 2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.sampling.start_steps=[0, 3]"], "start_steps has 3, which latents.kept_steps has not"),
        (
            ["train.sampling.guidance_interval=[0, 500]"],
            "train.sampling.guidance_interval = (0.0, 500.0) differs from latents.sampling.guidance_interval = None",
        ),
        (["images.sampling.guidance_interval=[9, 5]"], "guidance_interval must be two timesteps in ascending order"),
        (["latents.kept_steps=[8]"], "kept_steps must be below sampling.num_inference_steps"),
    ],
)
def test_stages_that_do_not_fit_together_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_preset("miniature", settings)
