"""SAM 3 (Sam3Model): from image and noun to a mask for each object that the noun names."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam3Model, Sam3VideoModel

from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.segmenters.instances import DEFAULT_INSTANCES, distinct_instances
from comat_core.support.pretrained import FrozenReader


class Sam3Segmenter(FrozenReader):
    """A noun's mask is the union of the masks of its objects."""

    model_class = Sam3Model
    contained_in = Sam3VideoModel  # as SAM 3 is published: what finds objects in an image, and a tracker of them

    def __init__(
        self,
        model: Sam3Model,
        processor: Any,
        *,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        instances: InstanceSettings = DEFAULT_INSTANCES,
    ) -> None:
        """Take a loaded model.

        Args:
            threshold: least score of an object, in (0, 1).
            mask_threshold: least probability of a mask's pixels, in (0, 1).
            instances: which masks are objects of their own.
        """
        super().__init__(model, processor)
        self.image_processor = processor.image_processor
        self.threshold = threshold
        self.mask_threshold = mask_threshold
        self.instances = instances

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The whole model."""
        return {"SAM 3": self.model}

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`."""
        nothing = torch.zeros(0, *images.shape[-2:], dtype=torch.bool, device=images.device)
        return [
            torch.stack([masks.any(dim=0) for masks in of_image]) if of_image else nothing
            for of_image in self._all_masks(images, nouns)
        ]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Find each object of nouns[i] in images[i]; see `InstanceSegmenter`."""
        return [
            [distinct_instances(masks, self.instances) for masks in of_image]
            for of_image in self._all_masks(images, nouns)
        ]

    @torch.no_grad()
    def _all_masks(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Per image and noun the masks (objects, H, W) above the threshold, the surest first.

        One image after the other, each through the vision encoder once, and one noun after the other: the model's masks
        of all its queries take more memory than its weights' activations do.
        """
        assert len(images) == len(nouns), f"{len(images)} images for {len(nouns)} lists of nouns"
        with torch.autocast(images.device.type, enabled=False):
            return [
                self._masks_of_image(image, of_image) if of_image else []
                for image, of_image in zip(images.clamp(0, 1), nouns, strict=True)
            ]

    def _masks_of_image(self, image: Tensor, nouns: Sequence[str]) -> list[Tensor]:
        pixel_values = self.preprocess(image[None]).to(self.model.dtype)
        seen = self.model.get_vision_features(pixel_values=pixel_values)
        height, width = image.shape[-2:]
        return [self._masks_of_noun(seen, noun, (height, width)) for noun in nouns]

    def _masks_of_noun(self, seen: Any, noun: str, size: tuple[int, int]) -> Tensor:
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(noun, padding="max_length", truncation=True, max_length=length, return_tensors="pt").to(
            self.model.device
        )
        output = self.model(vision_embeds=seen, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        (found,) = self.image_processor.post_process_instance_segmentation(
            output, threshold=self.threshold, mask_threshold=self.mask_threshold, target_sizes=[size]
        )
        if not len(found["scores"]):
            return torch.zeros(0, *size, dtype=torch.bool, device=self.model.device)
        return found["masks"][found["scores"].argsort(descending=True, stable=True)].bool()
