"""The search: Adam on the logits of the added words, through text encoder, denoising, decoder and classifier."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from comat_core.attack.classifiers import Classifier
from comat_core.attack.distributions import gumbel_softmax
from comat_core.attack.losses import margin_loss, text_similarity
from comat_core.attack.settings import SearchSettings
from comat_core.attack.words import AddableWords
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.token_mixtures import TokenMixtures
from comat_core.sampling.denoising import denoise
from comat_core.sampling.schedulers import Scheduler
from comat_core.sampling.trajectories import start_from_noise
from comat_core.settings import Sampler
from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed, make_generator
from comat_core.training.gradient_steps import gradient_steps_uniform

logger = logging.getLogger("comat")


@dataclass(frozen=True)
class AttackedPrompt:
    """A prompt and the class that is to be lost."""

    prompt_id: str
    text: str
    class_number: int


@dataclass(frozen=True)
class FoundWords:
    """What the search ends with, for B prompts."""

    logits: Tensor
    """(B, K, C) on the CPU: the distributions over words in each place."""
    losses: Tensor
    """(iterations, B)."""
    skipped: list[int]
    """Iterations whose loss or gradient was no finite number, of each prompt."""


class WordSearch:
    """What a search of one model against one classifier needs; its methods are one iteration's parts."""

    def __init__(
        self,
        model: Backbone,
        classifier: Classifier,
        sampler: Sampler,
        settings: SearchSettings,
        *,
        resolution: int,
        seed: int,
    ) -> None:
        """Take a loaded model, whose adapter if any is active.

        Args:
            resolution: side of the images in pixels.
            seed: of the run.

        Raises:
            UserError: the model reads no words that can be searched.
        """
        self.words = AddableWords.of(model)
        self._model, self._classifier, self._sampler, self._settings = model, classifier, sampler, settings
        self._resolution, self._seed = resolution, seed
        self._scheduler: Scheduler = model.make_scheduler(sampler.scheduler, resolution)
        self._unconditional = model.encode_unconditional(1, resolution)
        # The prompts of a search are the same in every iteration.
        self._original_states = lru_cache(maxsize=1)(partial(_states_of, model, resolution))

    def find(self, prompts: Sequence[AttackedPrompt]) -> FoundWords:
        """Search words for prompts, side by side: no number of one depends on the others.

        Raises:
            UserError: no iteration of a prompt gave a finite loss.
        """
        shape = (len(prompts), self._settings.added_tokens, len(self.words.tokens))
        dtype = torch.promote_types(self._model.dtype, torch.float32)
        logits = torch.zeros(shape, dtype=dtype, device=self._model.device, requires_grad=True)
        adam = torch.optim.Adam([logits], lr=self._settings.learning_rate)
        losses, skipped = [], torch.zeros(len(prompts), dtype=torch.long)
        for iteration in range(self._settings.iterations):
            loss = self.loss(logits, prompts, iteration)
            (gradient,) = torch.autograd.grad(loss.sum(), logits)
            finite = loss.isfinite() & gradient.flatten(1).isfinite().all(dim=1)
            logits.grad = gradient.where(finite[:, None, None], 0.0)
            adam.step()
            losses.append(loss.detach().cpu())
            skipped += (~finite).cpu()
        self._check(prompts, skipped.tolist())
        return FoundWords(logits.detach().cpu(), torch.stack(losses), skipped.tolist())

    def loss(self, logits: Tensor, prompts: Sequence[AttackedPrompt], iteration: int) -> Tensor:
        """The loss of one draw of words and noise: margin, and weight * (1 - similarity).

        Args:
            logits: (B, K, C).
            iteration: names the draw.

        Returns:
            (B,) with the graph to the logits.
        """
        ids, texts, settings = [one.prompt_id for one in prompts], [one.text for one in prompts], self._settings
        generators = [make_generator(self._seed, "attack words", prompt_id, iteration) for prompt_id in ids]
        opened = self.words.open(texts, settings.added_tokens)
        mixtures = TokenMixtures(
            opened.places, self.words.tokens, gumbel_softmax(logits, generators, settings.temperature)
        )
        conditioning = self._model.encode_mixtures(opened.texts, self._resolution, mixtures)

        # The classifier's margin in the image of these words.
        latents, noises = start_from_noise(
            self._model, [derive_seed(self._seed, "attack noise", one, iteration) for one in ids], self._resolution
        )
        result = denoise(
            self._model,
            latents.to(logits.dtype),
            conditioning,
            self._unconditional.repeat(len(prompts)),
            scheduler=self._scheduler,
            num_inference_steps=self._sampler.num_inference_steps,
            guidance_scale=self._sampler.guidance_scale,
            guidance_interval=self._sampler.guidance_interval,
            generators=noises,
            gradient_steps=self._gradient_steps(iteration),
            detach_denoiser_input=settings.detach_denoiser_input,
            checkpoint_denoiser=settings.checkpoint_denoiser,
        )
        images = self._model.decode(result.latents, checkpoint_rows=settings.checkpoint_denoiser)
        seen = self._classifier.logits(images)
        classes = torch.tensor([one.class_number for one in prompts], device=seen.device)
        margin = margin_loss(seen, classes, settings.kappa)

        # How far the text has come from what the prompt says.
        states = conditioning["prompt_embeds"]
        original = self._original_states(tuple(texts))
        similarity = text_similarity(states, opened.ends, original, self.words.ends(texts))
        return margin + settings.similarity_weight * (1 - similarity).to(margin)

    def _gradient_steps(self, iteration: int) -> tuple[int, ...]:
        steps = self._sampler.num_inference_steps
        generator = make_generator(self._seed, "attack gradient steps", iteration)
        return gradient_steps_uniform(steps, self._settings.gradient_steps, generator)

    def _check(self, prompts: Sequence[AttackedPrompt], skipped: Sequence[int]) -> None:
        """Tell of losses that were no finite numbers."""
        for prompt, count in zip(prompts, skipped, strict=True):
            if count == self._settings.iterations:
                problem = "the loss of the attack was no finite number in any iteration"
                advice = "sample in bf16 or fp32, and check that the model draws finite images"
                raise UserError(problem, f"prompt {prompt.text!r}, {self._model.source}", advice)
            if count:
                logger.warning("%s: %d iterations without a finite loss were left out", prompt.prompt_id, count)


def _states_of(model: Backbone, resolution: int, texts: tuple[str, ...]) -> Tensor:
    """The text encoder's states of prompts without added words, (B, tokens, channels)."""
    return model.encode_prompts(texts, resolution)["prompt_embeds"].detach()
