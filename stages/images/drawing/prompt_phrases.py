"""The noun phrases of prompts, and texts encoded by a pipeline of Stable Diffusion or Stable Diffusion XL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from comat_core.language.grammar.phrases import noun_phrase_spans
from comat_core.language.parsers import load_parser
from comat_core.language.token_alignment import align_prompts
from comat_core.support.errors import UserError
from stages.images.drawing.method import DrawingMethod


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of a prompt, as the text encoder's tokens have it."""

    text: str
    tokens: tuple[int, ...]
    """Positions in the whole prompt's encoding."""


class PhraseMethod(DrawingMethod):
    """A method that encodes the noun phrases of a prompt one by one, for pipelines with a UNet."""

    def __init__(self, pipeline: Any, parser: str, where: str) -> None:
        super().__init__(pipeline, parser, where)
        if not isinstance(pipeline, StableDiffusionPipeline | StableDiffusionXLPipeline):
            problem = f"phrases of a prompt cannot be told to a {type(pipeline).__name__}"
            raise UserError(problem, where, "give a pipeline of Stable Diffusion 1, 2 or XL")
        self._reader = load_parser(parser)

    def phrases_of(self, prompts: Sequence[str]) -> list[list[Phrase]]:
        """Each prompt's noun phrases; one that the encoder's maximal length cuts off is left out."""
        spans = noun_phrase_spans(prompts, self._reader)
        tokenizer = self.pipeline.tokenizer
        aligned = align_prompts(tokenizer, prompts, spans, tokenizer.model_max_length)
        return [
            [
                Phrase(prompt[start:end], tokens.tokens)
                for (start, end), tokens in zip(of_prompt, found, strict=True)
                if tokens.tokens and not tokens.cut_off
            ]
            for prompt, of_prompt, found in zip(prompts, spans, aligned, strict=True)
        ]

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Encode texts: (N, L, D), and what Stable Diffusion XL is told beside it, (N, P), or None."""
        encoded = self.pipeline.encode_prompt(
            prompt=list(texts),
            device=self.pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        return encoded[0], encoded[2] if len(encoded) > 2 else None
