"""Algorithm 1: one training step of the online model, and the discriminator's step after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.discriminators.protocol import Discriminator
from comat_core.losses.attribute_concentration import ConcentrationLoss, attribute_concentration_loss
from comat_core.losses.concept_activation import concept_activation_loss, random_crop
from comat_core.losses.fidelity import discriminator_accuracy, discriminator_loss, generator_adversarial_loss
from comat_core.rewards.names import CONCEPT_ACTIVATION, part_role, reward_role
from comat_core.rewards.protocol import reward_loss
from comat_core.sampling.denoising import DenoisingResult, denoise
from comat_core.sampling.trajectories import pair_start_steps, start_from_images, start_from_noise
from comat_core.support.randomness import make_generator
from comat_core.training.entity_masks import entity_masks
from comat_core.training.gradient_steps import draw_start_step, gradient_steps_strided, gradient_steps_uniform
from comat_core.training.reward_strengths import GradientMeter, RewardBalance
from comat_core.training.step_settings import LossWeights, StepSettings, TrainingSampler
from comat_core.training.training_inputs import CoMatBatch, CoMatModels

__all__ = [
    "CoMatBatch",
    "CoMatModels",
    "DiscriminatorOutput",
    "LossWeights",
    "StepOutput",
    "StepSettings",
    "discriminator_step",
    "training_step",
]


@dataclass
class StepOutput:
    """What a training step returns; everything but `total` and `terms` is detached."""

    total: Tensor
    """L, a scalar with its graph: the caller walks it backwards."""
    losses: dict[str, Tensor]
    """Each term that is on, by name, before its weight is applied (alpha and beta are inside theirs), what a reward's
    parts add to it, and "total"."""
    latents: Tensor
    """z'_0: (B, C, h, w), the online model's result for the prompts."""
    images: Tensor | None
    """I': (B, 3, H, W) in [0, 1] with tails; None when no term looks at images."""
    masks: list[Tensor] | None
    """For each prompt (entities, H, W) booleans; None when attribute concentration is off."""
    gradient_steps: tuple[int, ...]
    """The steps whose call kept a gradient."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Name -> weighted term, with its graph; L is their sum."""
    gradient_squares: dict[str, Tensor] = field(default_factory=dict)
    """Of the losses that are measured (`GradientMeter.squares`): complete after the backward pass."""


@dataclass
class DiscriminatorOutput:
    """What a discriminator step returns."""

    loss: Tensor
    """A scalar with its graph."""
    accuracy: Tensor
    """Share of right logits, in [0, 1]."""


def training_step(
    models: CoMatModels,
    batch: CoMatBatch,
    settings: StepSettings,
    *,
    seed: int,
    step: int,
    balance: RewardBalance | None = None,
) -> StepOutput:
    """Algorithm 1, up to the total loss. The backward pass and the optimiser are the caller's.

    Args:
        seed: of the run.
        step: of the optimiser. Micro-batches of one step share their gradient steps and their crop, so that
            accumulating gradients equals one large batch.
        balance: between the rewards; none leaves them as they are. The gradients of the losses that its factors
            name are measured.
    """
    online, sampling, weights, losses = models.online, settings.sampling, settings.weights, {}
    first = draw_start_step(sampling.start_steps, make_generator(seed, "start step", step))
    gradient_steps, attention_steps = _draw_steps(sampling, first, make_generator(seed, "gradient steps", step))
    count, captions = len(batch.prompts), [*batch.prompts, *_used_pairs(models, batch, settings)]

    # 1. x_T ~ N(0, I);  tau ~ Uniform[T1, T2];  x_tau = add_noise(VAE(I_g), xi, tau).
    #    Where the first step is a later one, the reference model's state on the way from x_T stands for x_T.
    x_start, start_steps, generators = _starts(models, batch, settings, first, seed, step)

    # 2, 3. The online model denoises x_T under P and x_tau under P_g, jointly.
    result = denoise(
        online,
        x_start,
        online.encode_prompts(captions, settings.resolution),
        models.unconditional.repeat(len(captions)),
        scheduler=models.scheduler,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        guidance_interval=sampling.guidance_interval,
        generators=generators,
        start_steps=start_steps,
        gradient_steps=gradient_steps,
        detach_denoiser_input=sampling.detach_denoiser_input,
        checkpoint_denoiser=settings.checkpoint_denoiser,
        capture=_capture(batch, settings, attention_steps),
    )
    images = _decode(models, result.latents, settings)
    balance = balance or RewardBalance()
    meter, parts = GradientMeter(balance.factors, result.latents.device), {}

    # 4. L_i2t, and what else is rewarded, over [I'; I'_g] with [P; P_g].
    if _is_rewarded(models, settings):
        assert images is not None
        crop = random_crop(images, make_generator(seed, "caption crop", step))
        losses, parts = _rewards(models, crop, captions, settings, balance, meter)

    # 5, 6. L_adv from D(z'_0). D(z^_0), for the same x_T and P, concerns the discriminator's own step alone.
    if weights.fidelity:
        assert models.discriminator is not None
        scored = _what_it_reads(models.discriminator, result.latents, images)[:count]
        logits = models.discriminator.score(scored, frozen=True)
        losses["fidelity"] = generator_adversarial_loss(logits, saturating=settings.saturating)

    # 7. L_pos, L_neg from S(I'), P and A.
    masks = None
    if weights.attribute_concentration:
        assert images is not None
        assert models.segmenter is not None
        masks = entity_masks(models.segmenter, images[:count], batch.entities, result.attention_maps)
        concentration = _concentration(result, batch, masks, settings)
        losses["concentration_positive"], losses["concentration_negative"] = concentration

    # 8. L = L_i2t + L_pos + L_neg + lambda L_adv - sum of weighted rewards.
    factors = {CONCEPT_ACTIVATION: weights.concept_activation, "fidelity": weights.fidelity}
    factors |= {reward_role(name): rewarded.weight for name, rewarded in models.rewards.items()}
    terms = {name: factors.get(name, 1.0) * meter.scaled(name, loss) for name, loss in losses.items()}
    total = torch.stack(list(terms.values())).sum()
    logged = {name: loss.detach() for name, loss in losses.items()} | parts | {"total": total.detach()}
    shown = None if images is None else images[:count].detach()
    latents = result.latents[:count].detach()
    return StepOutput(total, logged, latents, shown, masks, gradient_steps, terms, meter.squares)


def discriminator_step(
    models: CoMatModels, batch: CoMatBatch, output: StepOutput, settings: StepSettings
) -> DiscriminatorOutput:
    """The discriminator's side of equation 3, on the latents that the training step has just made.

    To be called after the online model's backward pass; no gradient reaches the online model from here.
    """
    discriminator = models.discriminator
    real_latents = batch.reference_latents if settings.discriminator.real == "generated" else batch.pair_latents
    assert discriminator is not None and real_latents is not None
    real, fake, real_images = real_latents.to(output.latents), output.latents, None
    if discriminator.reads == "images":
        with torch.no_grad():
            real_images = models.online.decode(real)
    real = _what_it_reads(discriminator, real, real_images)
    fake = _what_it_reads(discriminator, fake, output.images)
    # One call for both sides: the network sees one batch instead of two.
    logits_real, logits_fake = discriminator.score(torch.cat([real, fake])).split([len(real), len(fake)])
    return DiscriminatorOutput(
        discriminator_loss(logits_real, logits_fake), discriminator_accuracy(logits_real, logits_fake)
    )


def _capture(batch: CoMatBatch, settings: StepSettings, steps: Sequence[int]) -> CaptureRequest | None:
    if not settings.weights.attribute_concentration or not any(batch.entities):
        return None
    return CaptureRequest(steps, range(len(batch.prompts)), settings.attention_layers)


def _draw_steps(
    sampling: TrainingSampler, first: int, generator: torch.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The K steps, from the first on, that keep a gradient, and r of them, all different, that give attention maps."""
    draw = gradient_steps_uniform if sampling.gradient_step_draw == "uniform" else gradient_steps_strided
    drawn = draw(sampling.num_inference_steps - first, sampling.gradient_steps, generator)
    steps = tuple(first + step for step in drawn)
    chosen = torch.randperm(len(steps), generator=generator)[: sampling.attention_steps]
    return steps, tuple(steps[index] for index in sorted(chosen.tolist()))


def _used_pairs(models: CoMatModels, batch: CoMatBatch, settings: StepSettings) -> Sequence[str]:
    """P_g, or nothing: noised real images are denoised for concept activation and rewards alone."""
    return batch.pair_captions if settings.mixed_latents and _is_rewarded(models, settings) else ()


def _is_rewarded(models: CoMatModels, settings: StepSettings) -> bool:
    """Whether a captioner or another model scores the images."""
    return bool(settings.weights.concept_activation or models.rewards)


def _starts(
    models: CoMatModels, batch: CoMatBatch, settings: StepSettings, first: int, seed: int, step: int
) -> tuple[Tensor, list[int], list[torch.Generator]]:
    """Latents (B + G, C, h, w) that the denoising starts from, with each row's first step and generator.

    Args:
        first: the prompts' first step.
    """
    latents, generators = start_from_noise(models.online, batch.trajectory_seeds, settings.resolution)
    if first:
        latents = batch.states[first].to(latents)
    start_steps, sampling = [first] * len(generators), settings.sampling
    if _used_pairs(models, batch, settings):
        assert batch.pair_latents is not None
        pair_generators = [make_generator(seed, "pair", step, pair_id) for pair_id in batch.pair_ids]
        noised, joins = start_from_images(
            batch.pair_latents.to(latents),
            pair_generators,
            scheduler=models.scheduler,
            num_inference_steps=sampling.num_inference_steps,
            steps=pair_start_steps(models.scheduler, sampling.num_inference_steps, sampling.tau_range),
        )
        latents = torch.cat([latents, noised])
        start_steps += joins
        generators += pair_generators
    return latents, start_steps, generators


def _decode(models: CoMatModels, latents: Tensor, settings: StepSettings) -> Tensor | None:
    """Images of all rows, with a graph only if a loss goes through them; None if no term looks at images."""
    weights = settings.weights
    scored_as_image = weights.fidelity and models.discriminator is not None and models.discriminator.reads == "images"
    if _is_rewarded(models, settings) or scored_as_image:
        return models.online.decode(latents, checkpoint_rows=settings.checkpoint_decoder)
    if weights.attribute_concentration:
        with torch.no_grad():
            return models.online.decode(latents)
    return None


def _rewards(
    models: CoMatModels,
    images: Tensor,
    captions: Sequence[str],
    settings: StepSettings,
    balance: RewardBalance,
    meter: GradientMeter,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """L_i2t and the other rewards' losses, and what rewards' parts add to theirs."""
    losses, parts = {}, {}
    if settings.weights.concept_activation:
        assert models.captioner is not None
        likelihood = models.captioner.log_likelihood(meter.shown(CONCEPT_ACTIVATION, images), captions)
        losses[CONCEPT_ACTIVATION] = concept_activation_loss(
            likelihood.log_probabilities, likelihood.mask, settings.token_reduction
        )
    for name, rewarded in models.rewards.items():
        role = reward_role(name)
        loss = reward_loss(rewarded.reward, meter.shown(role, images), captions, balance.parts.get(role))
        losses[role] = loss.total
        parts |= {part_role(role, part): share for part, share in loss.parts.items()}
    return losses, parts


def _what_it_reads(discriminator: Discriminator, latents: Tensor, images: Tensor | None) -> Tensor:
    if discriminator.reads == "latents":
        return latents
    assert images is not None
    return images


def _concentration(
    result: DenoisingResult, batch: CoMatBatch, masks: Sequence[Tensor], settings: StepSettings
) -> ConcentrationLoss:
    """L_pos and L_neg; zero, but still a function of the online model, for a batch without any entity."""
    if not result.attention_maps:
        zero = result.latents.sum() * 0
        return ConcentrationLoss(zero, zero)
    return attribute_concentration_loss(
        result.attention_maps,
        batch.entities,
        masks,
        alpha=settings.weights.attribute_region,
        beta=settings.weights.attribute_pixel,
        variant=settings.concentration_variant,
    )
