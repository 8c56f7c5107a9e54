"""StructureDiffusion: cross-attention whose values come from every noun phrase encoded alone, too."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from comat_core.training_free.structured_values import structured_embeddings, structured_values
from stages.images.drawing.prompt_phrases import PhraseMethod

if TYPE_CHECKING:
    from PIL.Image import Image


class Structure(PhraseMethod):
    """Gives the cross-attention structured values.

    The authors take noun phrases of every level from a constituency parser; here they are spaCy's noun chunks, which
    hold no other.
    """

    def draw(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator], options: Mapping[str, Any]
    ) -> "list[Image]":
        phrases = self.phrases_of(prompts)
        encoded, _ = self.encode([*prompts, *(phrase.text for of_prompt in phrases for phrase in of_prompt)])
        whole, *alone = encoded.split([len(prompts), *map(len, phrases)])
        embeddings = [
            structured_embeddings(one, parts, [phrase.tokens for phrase in of_prompt])
            for one, parts, of_prompt in zip(whole, alone, phrases, strict=True)
        ]
        with structured_values(self.pipeline.unet, torch.stack(embeddings)):
            return self.pipeline(prompt=list(prompts), generator=list(generators), **options).images
