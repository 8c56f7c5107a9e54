"""Object and attribute accuracy by an independent judge: a classifier of the "colour shape" pairs in an image.

The judge is neither the captioner that rewards the training nor the answering model of the main metric, so that a gain
it sees is no artefact of either. Its pooled features serve the fidelity distance.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from transformers import ResNetForImageClassification

from comat_core.support.errors import UserError
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.pretrained import load_frozen_model, load_image_processor

PRESENT: Final = 0.5
"""Probability above which a pair counts as present."""

_PHRASE_BREAKS: Final = frozenset({"a", "an", "the", "and", "or", "with"})
_COPULA: Final = ("that", "is")


@dataclass(frozen=True)
class RequiredObject:
    """An object that a prompt names. `colour` is None when the prompt leaves it open."""

    shape: str
    colour: str | None


@dataclass(frozen=True)
class JudgeScore:
    """What the judge says of one image, each in [0, 1]."""

    object_accuracy: float  # share of the required objects whose shape is there, in any colour
    attribute_accuracy: float  # share of the required objects that are there as described
    all_right: float  # 1 if all are there as described
    exact: float  # 1 if, besides, no pair is there that the prompt does not name
    exchanged: float  # 1 if the prompt's two objects are there with each other's colours


class PairVocabulary:
    """The judge's classes, "red circle" and so on, taken apart.

    Raises:
        UserError: a class name is not of the form "colour shape".
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        pairs = [tuple(label.rsplit(" ", maxsplit=1)) for label in labels]
        odd = next((label for label, pair in zip(labels, pairs, strict=True) if len(pair) != 2), None)
        if odd is not None:
            raise UserError(
                f"class {odd!r} is no colour-shape pair", "judge", 'use a judge with classes "red circle", …'
            )
        self.pairs: tuple[tuple[str, str], ...] = tuple((pair[0], pair[1]) for pair in pairs)
        self.colours = frozenset(colour for colour, _ in self.pairs)
        self.shapes = frozenset(shape for _, shape in self.pairs)

    def required_objects(self, prompt: str) -> list[RequiredObject]:
        """The objects that a prompt names, each once, in its order.

        An object's colour stands before its shape in the same noun phrase, or follows it after "that is".
        """
        words = re.findall(r"[^\W\d_]+", prompt.lower())
        found = [
            RequiredObject(word, self._colour_before(words, index) or self._colour_after(words, index))
            for index, word in enumerate(words)
            if word in self.shapes
        ]
        return list(dict.fromkeys(found))

    def _colour_before(self, words: Sequence[str], index: int) -> str | None:
        for word in reversed(words[:index]):
            if word in self.colours:
                return word
            if word in _PHRASE_BREAKS or word in self.shapes:
                return None
        return None

    def _colour_after(self, words: Sequence[str], index: int) -> str | None:
        if tuple(words[index + 1 : index + 3]) != _COPULA:
            return None
        described = words[index + 3 : index + 6]  # "red", "striped red", "striped and red"
        for position, word in enumerate(described):
            if word in self.colours:
                return word
            if word in _PHRASE_BREAKS and not (word == "and" and position > 0):
                return None
        return None


def score_image(probabilities: Mapping[tuple[str, str], float], required: Sequence[RequiredObject]) -> JudgeScore:
    """Compare what the judge sees with what the prompt names.

    A shape counts as present as often as the sum of its pairs' probabilities, rounded, says: a judge in doubt between a
    blue and a purple circle still sees one circle.

    Args:
        probabilities: (colour, shape) -> probability that the pair is in the image.
        required: at least one object.
    """
    assert required, "a prompt that names nothing cannot be scored"
    wanted = Counter(item.shape for item in required)
    seen = {shape: _expected_count(probabilities, shape) for shape in wanted}
    shapes_there = sum(min(count, seen[shape]) for shape, count in wanted.items())
    right = [_is_right(probabilities, item) for item in required]
    surplus = sum(probability > PRESENT for probability in probabilities.values()) > len(required)
    return JudgeScore(
        object_accuracy=shapes_there / len(required),
        attribute_accuracy=sum(right) / len(required),
        all_right=float(all(right)),
        exact=float(all(right) and not surplus),
        exchanged=float(_are_exchanged(probabilities, required)),
    )


def _are_exchanged(probabilities: Mapping[tuple[str, str], float], required: Sequence[RequiredObject]) -> bool:
    if len(required) != 2:
        return False
    first, second = required
    if first.colour is None or second.colour is None or first.colour == second.colour or first.shape == second.shape:
        return False
    swapped = [RequiredObject(first.shape, second.colour), RequiredObject(second.shape, first.colour)]
    return all(_is_right(probabilities, item) for item in swapped)


def _expected_count(probabilities: Mapping[tuple[str, str], float], shape: str) -> int:
    return int(sum(value for (_, seen), value in probabilities.items() if seen == shape) + 0.5)


def _is_right(probabilities: Mapping[tuple[str, str], float], item: RequiredObject) -> bool:
    if item.colour is None:
        return _expected_count(probabilities, item.shape) >= 1
    return probabilities.get((item.colour, item.shape), 0.0) > PRESENT


class Judge:
    """A frozen ResNetForImageClassification with independent (multi-label) classes."""

    def __init__(self, model: ResNetForImageClassification, preprocess: ImagePreprocessing) -> None:
        self.model = model
        self.preprocess = preprocess
        names = {int(index): name for index, name in (model.config.id2label or {}).items()}
        self.vocabulary = PairVocabulary([names[index] for index in sorted(names)])

    @classmethod
    def load(
        cls,
        folder: str,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "Judge":
        """Load a judge saved by `save_pretrained` with its image processor.

        Raises:
            UserError: the folder holds no such model, or no image processor.
        """
        model = load_frozen_model(ResNetForImageClassification, folder, revision=revision, dtype=dtype, device=device)
        return cls(model, ImagePreprocessing.from_processor(load_image_processor(folder, revision), folder))

    @torch.no_grad()
    def look_at(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images (B, 3, H, W) in [0, 1].

        Returns:
            (B, classes) probabilities in [0, 1], and (B, D) pooled features, both float32 on the CPU.
        """
        pixels = self.preprocess(images.to(self.model.device)).to(self.model.dtype)
        pooled = self.model.resnet(pixel_values=pixels).pooler_output
        logits = self.model.classifier(pooled)
        return logits.float().sigmoid().cpu(), pooled.flatten(1).float().cpu()

    def as_pairs(self, probabilities: Tensor) -> dict[tuple[str, str], float]:
        """Name one image's probabilities (classes,) by (colour, shape)."""
        return dict(zip(self.vocabulary.pairs, probabilities.tolist(), strict=True))
