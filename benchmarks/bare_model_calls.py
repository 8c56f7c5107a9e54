"""The model calls that a training step cannot avoid, and nothing else: what its time is held against."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.training_workload import SEED, Workload
from comat_core.backbones.adapters import active_adapter
from comat_core.backbones.guided_denoiser import is_guided
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.discriminators.denoiser import ADAPTER_NAME
from comat_core.discriminators.protocol import gradient_wanted
from comat_core.sampling.trajectories import pair_start_steps, start_from_images
from comat_core.support.randomness import make_generator, normal_noise
from comat_core.training.gradient_steps import draw_start_step
from comat_core.training.training_step import training_step


@dataclass(frozen=True)
class _DenoiserInput:
    """Ready-made arguments of one call of the denoiser, with the unconditional half if it is guided by one."""

    latents: Tensor
    timesteps: Tensor
    conditioning: Conditioning
    keeps_gradient: bool


def bare_model_calls(workload: Workload, step: int) -> Callable[[], None]:
    """Prepare the calls of one training step on inputs of the right shapes; calling the result makes them.

    The denoiser sees as many rows at each step as the training step would give it (real images join at their tau),
    keeps a graph at the same steps, and recomputes if the settings say so. Each differentiable call is walked
    backwards by itself, from a gradient of ones.
    """
    models, batch, settings = workload.models, workload.batch, workload.settings
    online, device = models.online, models.online.device
    guidance = settings.sampling.guidance_scale
    count, captions = len(batch.prompts), [*batch.prompts, *batch.pair_captions]
    denoiser_inputs = _denoiser_inputs(workload, step)
    shape = (online.latent_channels, *[online.latent_size(settings.resolution)] * 2)
    latents = normal_noise(shape, [make_generator(SEED, "bare", row) for row in range(len(captions))], device=device)
    image_shape = (len(captions), 3, settings.resolution, settings.resolution)
    images = torch.rand(image_shape, generator=make_generator(SEED, "bare images")).to(device)
    both_sides = torch.cat([latents[:count], latents[:count]])
    nouns = [[entity.noun for entity in entities] for entities in batch.entities]
    captioner, segmenter, discriminator = models.captioner, models.segmenter, workload.discriminator
    assert captioner is not None and segmenter is not None
    scores = [one.reward.prepare(captions, device) for one in models.rewards.values()]

    def call_captioner(images: Tensor) -> Tensor:
        return captioner.log_likelihood(images, captions).log_probabilities

    def call_discriminator(latents: Tensor) -> Tensor:
        timesteps = torch.full((len(latents),), discriminator.timestep, device=device)
        prediction = discriminator.model.predict(latents, timesteps, discriminator.empty_prompt.repeat(len(latents)))
        return discriminator.head(prediction.permute(0, 2, 3, 1))

    def make_calls() -> None:
        online.encode_prompts(captions, settings.resolution)
        for inputs in denoiser_inputs:
            if inputs.keeps_gradient:
                _forward_and_backward(
                    lambda x, i=inputs: online.predict(x, i.timesteps, i.conditioning, guidance),
                    inputs.latents,
                    recompute=settings.checkpoint_denoiser,
                )
            else:
                with torch.no_grad():
                    online.predict(inputs.latents, inputs.timesteps, inputs.conditioning, guidance)
        _forward_and_backward(online.decode, latents.clone().requires_grad_())
        _forward_and_backward(call_captioner, images.clone().requires_grad_())
        for score in scores:
            _forward_and_backward(score, images.clone().requires_grad_())
        segmenter.segment(images[:count], nouns)
        with active_adapter(discriminator.model.denoiser, ADAPTER_NAME):
            with gradient_wanted(discriminator.named_trainable_parameters(), False):
                generated = latents[:count].clone().requires_grad_()
                _forward_and_backward(call_discriminator, generated, recompute=settings.checkpoint_denoiser)
            _forward_and_backward(call_discriminator, both_sides, recompute=settings.checkpoint_denoiser)

    return make_calls


def _denoiser_inputs(workload: Workload, step: int) -> list[_DenoiserInput]:
    models, batch, settings = workload.models, workload.batch, workload.settings
    sampling = settings.sampling
    count, pairs, device = len(batch.prompts), len(batch.pair_captions), models.online.device
    gradient_steps = training_step(models, batch, settings, seed=SEED, step=step).gradient_steps
    joins: list[int] = []
    if pairs:
        assert batch.pair_latents is not None
        _, joins = start_from_images(
            batch.pair_latents,
            [make_generator(SEED, "pair", step, pair_id) for pair_id in batch.pair_ids],
            scheduler=models.scheduler,
            num_inference_steps=sampling.num_inference_steps,
            steps=pair_start_steps(models.scheduler, sampling.num_inference_steps, sampling.tau_range),
        )
    first = draw_start_step(sampling.start_steps, make_generator(SEED, "start step", step))
    prompted = models.online.encode_prompts([*batch.prompts, *batch.pair_captions], settings.resolution)
    shape = (models.online.latent_channels, *[models.online.latent_size(settings.resolution)] * 2)
    inputs = []
    for index, timestep in enumerate(models.scheduler.timesteps(sampling.num_inference_steps)):
        rows = count * (index >= first) + sum(join <= index for join in joins)
        if not rows:
            continue
        conditioning = prompted.select(slice(rows))
        guided = models.online.guidance == "two halves" and sampling.guidance_scale > 1
        if guided and is_guided(timestep, sampling.guidance_interval):
            conditioning = Conditioning.concatenate([models.unconditional.repeat(rows), conditioning])
        generators = [make_generator(SEED, "bare", index, row) for row in range(len(conditioning))]
        latents = normal_noise(shape, generators, device=device)
        timesteps = timestep.to(device).expand(len(latents))
        inputs.append(_DenoiserInput(latents, timesteps, conditioning, index in gradient_steps))
    return inputs


def _forward_and_backward(call: Callable[[Tensor], Tensor], argument: Tensor, *, recompute: bool = False) -> None:
    result = checkpoint(call, argument, use_reentrant=False) if recompute else call(argument)
    assert isinstance(result, Tensor)
    result.backward(torch.ones_like(result))
