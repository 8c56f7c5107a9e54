"""What all captioners of the transformers library share: loading, preprocessing, one call of the model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from comat_core.captioners.caption_tokens import CaptionTokens, caption_likelihood
from comat_core.captioners.protocol import DEFAULT_PREFIX, CaptionLikelihood
from comat_core.support.pretrained import FrozenReader


class TransformersCaptioner(FrozenReader, ABC):
    """log p(caption | image) of a frozen model; a subclass names the model's class and lays out its text."""

    def __init__(self, model: PreTrainedModel, processor: Any, *, prefix: str = DEFAULT_PREFIX) -> None:
        super().__init__(model, processor)
        self.prefix = prefix

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The whole model."""
        return {"captioner": self.model}

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> CaptionTokens:
        """Lay out each caption after what the model is given, and mark what counts."""

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        """Score captions[i] on images[i]; see `ImageToText`."""
        assert len(images) == len(captions), f"{len(images)} images for {len(captions)} captions"
        return self.prepare(captions, images.device)(images)

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        """Lay out captions, to score images with; see `ImageToText`."""
        tokens = self.tokenize(captions).to(device)
        return lambda images: self.score(images, tokens)

    def score(self, images: Tensor, tokens: CaptionTokens) -> CaptionLikelihood:
        """Score captions that are laid out already, on the images' device."""
        logits = self.model(
            pixel_values=self.preprocess(images).to(self.model.dtype),
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            logits_to_keep=tokens.predicting_positions,
            use_cache=False,
        ).logits
        return caption_likelihood(logits, tokens)
