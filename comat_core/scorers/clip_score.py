"""CLIPScore: how close CLIP places an image and a text."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from comat_core.support.pretrained import FrozenReader


class ClipScorer(FrozenReader):
    """The plain cosine of T2I-CompBench: neither multiplied by 2.5 nor cut off at 0, as other definitions are."""

    model_class = CLIPModel

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
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        output = self.model(
            pixel_values=self.preprocess(images).to(self.model.dtype),
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
        )
        return functional.cosine_similarity(output.image_embeds.float(), output.text_embeds.float())
