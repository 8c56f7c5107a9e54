"""The classifiers that an attack is to mislead, with their gradient."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel

from comat_core.scorers.judge import Judge
from comat_core.support.pretrained import FrozenReader

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


class ZeroShotClassifier(FrozenReader):
    """CLIP with the name of each class in a sentence: logit = exp(its scale) * cosine of image and sentence."""

    model_class = CLIPModel

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
        pixels = self.preprocess(images.to(self.model.device)).to(self.model.dtype)
        features = self.model.get_image_features(pixel_values=pixels).pooler_output
        return self.model.logit_scale.exp() * functional.normalize(features.float(), dim=-1) @ self._sentences.T

    @torch.no_grad()
    def _encode(self, sentences: Sequence[str]) -> Tensor:
        """(sentences, D) unit vectors."""
        parts = []
        for start in range(0, len(sentences), TEXTS_AT_ONCE):
            tokens = self.tokenizer(
                list(sentences[start : start + TEXTS_AT_ONCE]),
                padding=True,
                truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self.model.device)
            features = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            parts.append(functional.normalize(features.float(), dim=-1))
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
