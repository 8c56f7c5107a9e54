"""A training step that begins in the middle of the reference model's walk."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from comat_core.backbones.loading import load_backbone
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.training.step_settings import StepSettings, TrainingSampler
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from tests.comat_core.training.training_steps import ModelOf, assert_close, gradients, step_of
from tests.comat_core.training.training_world import CONCEPT_ONLY, make_batch, make_models, make_settings, sample
from tests.tiny_families import TINY_FAMILIES

STEPS = 4


def settings_of(start_steps: Sequence[int] | None, scheduler: str = "ddim", **changes: object) -> StepSettings:
    sampling = {
        "scheduler": scheduler,
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "gradient_steps": 1,
        "attention_steps": 1,
        "tau_range": (200, 800),
        "start_steps": start_steps,
    }
    fixed = {"mixed_latents": False, "sampling": TrainingSampler.model_validate(sampling)}
    return make_settings(**(fixed | changes))  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def add_states(models: CoMatModels, batch: CoMatBatch, settings: StepSettings) -> None:
    """Keep what every step of the base model's walk begins with, as the latents stage does."""
    latents, generators = start_from_noise(models.online, batch.trajectory_seeds, settings.resolution)
    states: dict[int, Tensor] = {}

    def keep(step: int, timestep: int, following: Tensor) -> None:
        del timestep
        states[step + 1] = following

    denoise(
        models.online,
        latents,
        models.online.encode_prompts(batch.prompts, settings.resolution),
        models.unconditional.repeat(len(batch.prompts)),
        scheduler=models.scheduler,
        num_inference_steps=STEPS,
        guidance_scale=settings.sampling.guidance_scale,
        generators=generators,
        callback=keep,
    )
    batch.states = states


def calls_of(models: CoMatModels, batch: CoMatBatch, settings: StepSettings, step: int = 0) -> list[int]:
    rows: list[int] = []
    hook = models.online.denoiser.register_forward_pre_hook(lambda _module, arguments: rows.append(len(arguments[0])))
    step_of(models, batch, settings, step)
    hook.remove()
    return rows


@pytest.mark.parametrize(("kind", "scheduler"), [("sd", "ddim"), ("sd3", "flow-euler")])
@pytest.mark.parametrize("start", [1, 3])
def test_an_unmoved_adapter_ends_where_the_whole_walk_does(
    kind: str, scheduler: str, start: int, tmp_path: Path
) -> None:
    model = load_backbone(TINY_FAMILIES[kind].save(tmp_path))
    models = make_models(model, stirred=False, scheduler=scheduler)
    batch, settings = make_batch(models), settings_of([start], scheduler, weights=CONCEPT_ONLY)
    add_states(models, batch, settings)
    whole = sample(models, batch, settings, adapter=None)
    torch.testing.assert_close(step_of(models, batch, settings).latents, whole, atol=1e-5, rtol=1e-4)


def test_only_the_rest_is_denoised_and_gives_gradients(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"), scheduler="ddim")
    batch, settings = make_batch(models), settings_of([2], weights=CONCEPT_ONLY)
    add_states(models, batch, settings)
    assert calls_of(models, batch, settings) == [8, 8], "two steps, both halves of four prompts"
    assert calls_of(models, batch, settings_of(None, weights=CONCEPT_ONLY)) == [8] * STEPS
    outputs = [step_of(models, batch, settings, step) for step in range(8)]
    assert {steps for output in outputs for steps in output.gradient_steps} == {2, 3}
    assert all(gradient.abs().max() > 0 for gradient in gradients(models, outputs[0].total)[:2])


def test_the_interval_and_the_start_save_together(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"), scheduler="ddim")
    batch, plain = make_batch(models), settings_of([2], weights=CONCEPT_ONLY)
    add_states(models, batch, plain)
    timesteps = models.scheduler.timesteps(STEPS).tolist()
    interval = (float(timesteps[2]), float(timesteps[1]))
    sampling = plain.sampling.model_copy(update={"guidance_interval": interval})
    assert calls_of(models, batch, plain.model_copy(update={"sampling": sampling})) == [8, 4]


def test_the_start_is_drawn_once_for_the_optimiser_step(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"), scheduler="ddim")
    batch, settings = make_batch(models), settings_of([0, 1, 3], weights=CONCEPT_ONLY)
    add_states(models, batch, settings)
    lengths = [len(calls_of(models, batch, settings, step)) for step in range(20)]
    assert set(lengths) == {4, 3, 1}
    assert lengths == [len(calls_of(models, batch, settings, step)) for step in range(20)]


def test_a_start_at_noise_is_the_plain_step(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"), scheduler="ddim")
    batch = make_batch(models)
    plain, named = step_of(models, batch, settings_of(None)), step_of(models, batch, settings_of([0]))
    assert plain.gradient_steps == named.gradient_steps
    assert torch.equal(plain.latents, named.latents)
    assert_close(gradients(models, plain.total), gradients(models, named.total))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "ddpm"}, "start_steps need one of the schedulers ddim, flow-euler"),
        ({"scheduler": "dpm-solver++"}, "start_steps need one of the schedulers ddim, flow-euler"),
        ({"gradient_steps": 3}, "gradient_steps must be left after the last of start_steps"),
        ({"start_steps": []}, "at least 1 item"),
        ({"start_steps": [-1]}, "greater than or equal to 0"),
    ],
)
def test_starts_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    values = {"scheduler": "ddim", "num_inference_steps": 4, "gradient_steps": 2, "start_steps": [0, 2]} | changes
    with pytest.raises(ValueError, match=message):
        TrainingSampler.model_validate(values)
