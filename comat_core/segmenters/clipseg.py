"""CLIPSeg (CLIPSegForImageSegmentation): one small model from image and noun to mask."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms
from transformers import CLIPSegForImageSegmentation

from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.segmenters.instances import DEFAULT_INSTANCES, connected_parts, distinct_instances
from comat_core.support.pretrained import FrozenReader


class ClipSegSegmenter(FrozenReader):
    """Masks are the pixels whose probability exceeds the threshold; a noun that exceeds it nowhere is not found."""

    model_class = CLIPSegForImageSegmentation

    def __init__(
        self,
        model: CLIPSegForImageSegmentation,
        processor: Any,
        *,
        threshold: float = 0.5,
        instances: InstanceSettings = DEFAULT_INSTANCES,
    ) -> None:
        """Take a loaded model.

        Args:
            threshold: least probability of a mask's pixels, in (0, 1).
            instances: which parts of a mask are objects.
        """
        super().__init__(model, processor)
        self.threshold = threshold
        self.instances = instances

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The whole model."""
        return {"CLIPSeg": self.model}

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`."""
        return [probabilities > self.threshold for probabilities in self.probabilities(images, nouns)]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Find each object of nouns[i] in images[i], a connected part of the noun's mask; see `InstanceSegmenter`."""
        return [
            [distinct_instances(connected_parts(mask), self.instances) for mask in of_image]
            for of_image in self.segment(images, nouns)
        ]

    @torch.no_grad()
    def probabilities(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Give each noun's probability at each pixel, per image a float32 (number of its nouns, H, W) tensor in [0, 1].

        All (image, noun) pairs go through the decoder at once; each image goes through the vision encoder once, and
        each different noun through the text encoder once.
        """
        assert len(images) == len(nouns), f"{len(images)} images for {len(nouns)} lists of nouns"
        height, width = images.shape[-2:]
        counts = [len(of_image) for of_image in nouns]
        if not sum(counts):
            return [images.new_zeros(0, height, width, dtype=torch.float32) for _ in counts]
        with torch.autocast(images.device.type, enabled=False):
            logits = self.pair_logits(images.clamp(0, 1), nouns)
        logits = transforms.resize(logits.float(), [height, width], InterpolationMode.BILINEAR, antialias=True)
        return list(logits.sigmoid().split(counts))

    def pair_logits(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> Tensor:
        """Run the model on all pairs, in the order of the images and their nouns, to (pairs, h, w) logits.

        Differentiable with respect to the weights; images in [0, 1]; at least one noun in all.
        """
        with_nouns = [index for index, of_image in enumerate(nouns) if of_image]
        row_of_pair = [row for row, index in enumerate(with_nouns) for _ in nouns[index]]
        pixel_values = self.preprocess(images[with_nouns]).to(self.model.dtype)
        hidden_states = self.model.clip.vision_model(pixel_values, output_hidden_states=True).hidden_states
        # hidden_states begins with the embeddings, so that layer i stands at i + 1.
        activations = [hidden_states[layer + 1][row_of_pair] for layer in self.model.extract_layers]
        conditions = self._encode_nouns([noun for of_image in nouns for noun in of_image])
        return self.model.decoder(activations, conditions).logits

    def _encode_nouns(self, nouns: Sequence[str]) -> Tensor:
        """Encode nouns into (number of nouns, projection size)."""
        different = sorted(set(nouns))
        tokens = self.tokenizer(
            different,
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        pooled = self.model.clip.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        embeddings = self.model.clip.text_projection(pooled)
        return embeddings[[different.index(noun) for noun in nouns]]
