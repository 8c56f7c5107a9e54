"""Mask2Former's instances behind the protocol `Detector`: a closed list of classes, but masks, and a sure count.

Scores and boxes follow MMDetection's post-processing of the same architecture, which GenEval's thresholds were chosen
for; that of transformers differs in the masks' resolution.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms
from transformers import Mask2FormerForUniversalSegmentation

from comat_core.detectors.protocol import Instance
from comat_core.metrics.spatial import Detection
from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_frozen_model, load_image_processor

INPUT_SIDE: Final = 800
"""Shorter side in pixels to which images are resized."""
LONGEST_SIDE: Final = 1333 / 800  # of the shorter side
SIDE_DIVISOR: Final = 32
CANDIDATES: Final = 100
"""Pairs of a query and a class that are looked at in an image, the likeliest ones."""
OTHER_NAMES: Final = {
    "tv remote": "remote",
    "computer mouse": "mouse",
    "computer keyboard": "keyboard",
    "motorcycle": "motorbike",
    "airplane": "aeroplane",
    "couch": "sofa",
    "potted plant": "pottedplant",
    "dining table": "diningtable",
    "tv": "tvmonitor",
    "hair drier": "hair dryer",
}
"""Names of COCO's classes that checkpoints may spell in another way."""


class Mask2FormerObjects:
    """Instances of the classes that the checkpoint was trained on."""

    def __init__(
        self,
        model: Mask2FormerForUniversalSegmentation,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        threshold: float,
        input_side: int = INPUT_SIDE,
    ) -> None:
        self.model: Any = model
        self.mean, self.std = list(mean), list(std)
        self.threshold, self.input_side = threshold, input_side
        self.classes = {str(name).lower(): int(index) for index, name in self.model.config.id2label.items()}

    @classmethod
    def load(
        cls,
        folder: str,
        *,
        revision: str | None = None,
        threshold: float,
        input_side: int = INPUT_SIDE,
        device: torch.device | str = "cpu",
    ) -> "Mask2FormerObjects":
        """Load a frozen Mask2Former from a folder or hub id.

        Args:
            threshold: least confidence of an object, in (0, 1).
            input_side: shorter side in pixels to which images are resized.

        Raises:
            UserError: there is no complete checkpoint of that kind, or no image processor beside it.
        """
        model = load_frozen_model(Mask2FormerForUniversalSegmentation, folder, revision=revision, device=device)
        processor = load_image_processor(folder, revision)
        return cls(
            model, mean=processor.image_mean, std=processor.image_std, threshold=threshold, input_side=input_side
        )

    @torch.no_grad()
    def detect_objects(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Find nouns[i] in images[i]; see `Detector`. They are `Instance`s; overlapping ones are all kept.

        Raises:
            UserError: a noun is none of the model's classes.
        """
        wanted = [{self._class_of(noun): noun for noun in of_image} for of_image in nouns]
        inputs, resized = self._prepare(images)
        output = self.model(pixel_values=inputs.to(self.model.dtype))
        found: list[list[Detection]] = []
        for class_logits, mask_logits, of_image in zip(
            output.class_queries_logits.float(), output.masks_queries_logits.float(), wanted, strict=True
        ):
            queries, classes, chances = self._candidates(class_logits, of_image)
            if not len(queries):
                found.append([])
                continue
            padded = functional.interpolate(mask_logits[queries][None], inputs.shape[-2:], mode="bilinear")
            shown = padded[..., : resized[0], : resized[1]]
            masks = functional.interpolate(shown, images.shape[-2:], mode="bilinear")[0]
            names = [of_image[index] for index in classes.tolist()]
            found.append(self._instances(names, chances, masks))
        return found

    def _class_of(self, noun: str) -> int:
        name = noun.lower()
        known = next((each for each in (name, OTHER_NAMES.get(name)) if each in self.classes), None)
        if known is None:
            raise UserError(
                f"the detector knows no class {noun!r}",
                str(self.model.name_or_path),
                "choose an open-vocabulary detector, or a checkpoint that was trained on that class",
            )
        return self.classes[known]

    def _prepare(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Resize (B, 3, H, W), normalise and pad; also the resized height and width, before the padding."""
        height, width = images.shape[-2:]
        short, long = sorted((height, width))
        scale = min(self.input_side / short, LONGEST_SIDE * self.input_side / long)
        size = (round(height * scale), round(width * scale))
        pixels = functional.interpolate(images.to(self.model.device).float(), size, mode="bilinear")
        pixels = transforms.normalize(pixels, self.mean, self.std)
        below, right = (-side % SIDE_DIVISOR for side in size)
        return functional.pad(pixels, (0, right, 0, below)), size

    def _candidates(self, class_logits: Tensor, wanted: dict[int, str]) -> tuple[Tensor, Tensor, Tensor]:
        """Of one image's (queries, classes + 1) logits: query, class and probability of what may be an object."""
        probabilities = class_logits.softmax(dim=-1)[:, :-1]
        chances, places = probabilities.flatten().topk(min(CANDIDATES, probabilities.numel()))
        queries, classes = places // probabilities.shape[-1], places % probabilities.shape[-1]
        asked = torch.isin(classes, torch.tensor(sorted(wanted), device=classes.device, dtype=classes.dtype))
        kept = asked & (chances > self.threshold)  # a mask's own quality only lowers the confidence
        return queries[kept], classes[kept], chances[kept]

    def _instances(self, names: Sequence[str], chances: Tensor, mask_logits: Tensor) -> list[Detection]:
        """Objects from their (N, H, W) mask logits: confidence is the class's probability times the mask's mean one."""
        inside = mask_logits > 0
        quality = (mask_logits.sigmoid() * inside).sum(dim=(-2, -1)) / (inside.sum(dim=(-2, -1)) + 1e-6)
        instances: list[Detection] = []
        for name, confidence, mask in zip(names, (chances * quality).tolist(), inside.cpu(), strict=True):
            if confidence <= self.threshold:  # also of empty masks, whose quality is 0
                continue
            rows, columns = (mask.any(dim=axis).nonzero()[:, 0].tolist() for axis in (1, 0))
            corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            instances.append(Instance(name, confidence, *map(float, corners), mask=mask.numpy()))
        return sorted(instances, key=lambda instance: -instance.confidence)
