"""The classifiers that an attack is to mislead, with their gradient."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from transformers import CLIPModel

from comat_core.scorers.clip_embeddings import ClipReader
from comat_core.scorers.judge import Judge

TEXTS_AT_ONCE: Final = 256


class Classifier(Protocol):
    """Tells classes apart."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names, in the order of the logits."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What it is made of, by name."""
        ...

    def logits(self, images: Tensor) -> Tensor:
        """Look at images (B, 3, H, W) in [0, 1], differentiably; return (B, classes)."""
        ...


class ZeroShotClassifier(ClipReader):
    """CLIP with the name of each class in a sentence: logit = exp(its scale) * cosine of image and sentence."""

    def __init__(self, model: CLIPModel, processor: Any, *, classes: Sequence[str], template: str) -> None:
        """Encode the sentences once.

        Args:
            classes: names.
            template: a sentence with {} in the place of the name.
        """
        super().__init__(model, processor)
        self.classes: Sequence[str] = tuple(classes)
        self._sentences = self._encode([template.format(name) for name in classes])

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """CLIP alone."""
        return {"CLIP": self.model}

    def logits(self, images: Tensor) -> Tensor:
        """See `Classifier`."""
        seen = self.image_embeddings(self.preprocess(images.to(self.model.device)))
        return self.model.logit_scale.exp() * seen @ self._sentences.T

    @torch.no_grad()
    def _encode(self, sentences: Sequence[str]) -> Tensor:
        """(sentences, D) unit vectors."""
        starts = range(0, len(sentences), TEXTS_AT_ONCE)
        parts = [self.text_embeddings(sentences[start : start + TEXTS_AT_ONCE]) for start in starts]
        return torch.cat(parts)


class JudgeClassifier:
    """The judge of colour-shape pairs, whose largest logit is taken for its class."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def classes(self) -> Sequence[str]:
        """The pairs that it knows: "red circle" and so on."""
        return self._judge.vocabulary.labels

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The judge alone."""
        return {"judge": self._judge.model}

    def logits(self, images: Tensor) -> Tensor:
        """See `Classifier`."""
        model = self._judge.model
        return model(pixel_values=self._judge.preprocess(images.to(model.device))).logits
