"""CLIP as a reader of images and texts, one by one: unit vectors whose products are cosines."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from comat_core.support.pretrained import FrozenReader


class ClipReader(FrozenReader):
    """A frozen CLIP; a subclass says what is compared with what."""

    model_class = CLIPModel

    def image_embeddings(self, pixel_values: Tensor) -> Tensor:
        """Embed images that are prepared for the model, differentiably: (B, D) float32 unit vectors."""
        features = self.model.get_image_features(pixel_values=pixel_values.to(self.model.dtype)).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def text_embeddings(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, of which the text encoder's length is read: (texts, D) float32 unit vectors."""
        features = self.model.get_text_features(**self.tokens(texts)).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What the text encoder reads of texts, with its mask; what is longer than it can read is cut."""
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        return {name: tokens[name] for name in ("input_ids", "attention_mask")}
