"""Attend-and-Excite: the latents are moved until every noun's tokens are attended to (diffusers' pipeline of it)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers import StableDiffusionPipeline

from comat_core.language.entities import parse_entities
from comat_core.language.parsers import load_parser
from comat_core.language.token_alignment import align_prompts
from data.noun_filter import load_noun_filter
from stages.images.drawing.finite import refuse_non_finite
from stages.images.drawing.method import DrawingMethod

if TYPE_CHECKING:
    from PIL.Image import Image


class AttendAndExcite(DrawingMethod):
    """Excites the tokens of each prompt's nouns, one prompt at a time."""

    pipeline_class = "StableDiffusionAttendAndExcitePipeline"
    gives = frozenset({"token_indices"})

    def __init__(self, pipeline: Any, parser: str, where: str) -> None:
        super().__init__(pipeline, parser, where)
        self._reader = load_parser(parser)
        self._words = load_noun_filter(None)

    def draw(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator], options: Mapping[str, Any]
    ) -> "list[Image]":
        rows = zip(prompts, generators, self.nouns_of(prompts), strict=True)
        return [self._draw_one(prompt, generator, tokens, options) for prompt, generator, tokens in rows]

    def nouns_of(self, prompts: Sequence[str]) -> list[list[int]]:
        """The tokens of every prompt's nouns, those that attribute concentration would use.

        Positions in the encoder's input, its start token counted.
        """
        found = list(parse_entities(prompts, self._reader, self._words))
        spans = [[entity.noun_span for entity in entities if entity.removed_because is None] for entities in found]
        tokenizer = self.pipeline.tokenizer
        aligned = align_prompts(tokenizer, prompts, spans, tokenizer.model_max_length)
        return [[token for noun in of_prompt for token in noun.tokens] for of_prompt in aligned]

    def _draw_one(
        self, prompt: str, generator: torch.Generator, tokens: list[int], options: Mapping[str, Any]
    ) -> "Image":
        """Draw with the attention to the nouns excited; without nouns nothing is left of the method but the model."""
        if not tokens:
            plain: Any = StableDiffusionPipeline(**self.pipeline.components, requires_safety_checker=False)
            plain.set_progress_bar_config(disable=True)
            refuse_non_finite(plain, self.where)
            return plain(prompt=prompt, generator=generator, **options).images[0]
        # A quarter of the latents' side is the 16 x 16 of the method's paper at 512 px.
        side = self._latent_side(options) // 4
        return self.pipeline(
            prompt=prompt, token_indices=tokens, generator=generator, attn_res=(side, side), **options
        ).images[0]

    def _latent_side(self, options: Mapping[str, Any]) -> int:
        scale = self.pipeline.vae_scale_factor
        return options.get("height", self.pipeline.unet.config.sample_size * scale) // scale
