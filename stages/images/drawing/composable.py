"""Composable Diffusion: every noun phrase of a prompt predicts for itself."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from comat_core.training_free.composed_predictions import PromptParts, composed_predictions
from stages.images.drawing.prompt_phrases import PhraseMethod

if TYPE_CHECKING:
    from PIL.Image import Image


class Composable(PhraseMethod):
    """Composes the noun phrases; what stands between them, a relation or an action, is not told.

    The paper leaves it to the user what the parts of a prompt are. A prompt without noun phrases is one part.
    """

    def draw(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator], options: Mapping[str, Any]
    ) -> "list[Image]":
        texts = [
            [phrase.text for phrase in phrases] or [prompt]
            for prompt, phrases in zip(prompts, self.phrases_of(prompts), strict=True)
        ]
        embeds, pooled = self.encode([text for of_prompt in texts for text in of_prompt])
        parts = PromptParts(embeds, pooled, tuple(map(len, texts)))
        with composed_predictions(self.pipeline.unet, parts):
            return self.pipeline(prompt=list(prompts), generator=list(generators), **options).images
