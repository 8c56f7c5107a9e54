"""CLIPScore: how close CLIP places an image and a text."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from comat_core.scorers.clip_embeddings import ClipReader


class ClipScorer(ClipReader):
    """The plain cosine of T2I-CompBench: neither multiplied by 2.5 nor cut off at 0, as other definitions are."""

    @torch.no_grad()
    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """`similarity` without its graph."""
        return self.similarity(images, texts)

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Compare texts[i] with images[i], differentiably.

        Args:
            images: (B, 3, H, W) in [0, 1].
            texts: B texts; what CLIP's text encoder cannot read of a long one is cut.

        Returns:
            (B,) float32 in [-1, 1].
        """
        assert len(images) == len(texts), f"{len(images)} images for {len(texts)} texts"
        output = self.model(pixel_values=self.preprocess(images).to(self.model.dtype), **self.tokens(texts))
        return functional.cosine_similarity(output.image_embeds.float(), output.text_embeds.float())
