"""LLaVA as the captioner (LlavaForConditionalGeneration), one of the alternatives that the paper compares."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedModel

from comat_core.captioners.caption_tokens import CaptionTokens, tokenize_captions
from comat_core.captioners.protocol import DEFAULT_PREFIX
from comat_core.captioners.transformers_captioner import TransformersCaptioner
from comat_core.support.chat_templates import instruction_text
from comat_core.support.errors import UserError

INSTRUCTION = "Describe this image in one sentence."


class LlavaCaptioner(TransformersCaptioner):
    """log p(caption | image, instruction) of a frozen LLaVA.

    The caption is scored as the assistant's answer to an instruction, after the prefix. What counts: the caption's
    tokens, letter case kept, and the end-of-sequence token with which the answer ends.
    """

    model_class = LlavaForConditionalGeneration

    def __init__(self, model: PreTrainedModel, processor: Any, *, prefix: str = DEFAULT_PREFIX) -> None:
        super().__init__(model, processor, prefix=prefix)
        self._image_token = self.tokenizer.convert_ids_to_tokens(self.model.config.image_token_id)
        prompt = _chat_prompt(processor, self._image_token)
        prompt = prompt.replace(self._image_token, self._image_token * self._count_image_tokens())
        joint = "" if not prefix or prompt[-1].isspace() else " "
        self._given = prompt + joint + prefix

    def tokenize(self, captions: Sequence[str]) -> CaptionTokens:
        """Lay out the captions as answers to the instruction about an expanded image, and mark what counts."""
        for caption in captions:
            if self._image_token in caption:
                raise UserError(f"a caption contains {self._image_token}", caption[:80], "remove the place-holder")
        return tokenize_captions(
            self.tokenizer,
            self._given,
            captions,
            ending=self.tokenizer.eos_token,
            max_length=self.model.config.text_config.max_position_embeddings,
        )

    @torch.no_grad()
    def _count_image_tokens(self) -> int:
        """Count the features that an image turns into by asking the vision tower itself.

        Processors of older checkpoints lack the numbers (patch size, extra tokens) from which transformers computes it.
        """
        vision_tower = self.model.model.vision_tower
        blank = torch.full((1, 3, 8, 8), 0.5, device=self.model.device)
        features = vision_tower(pixel_values=self.preprocess(blank).to(self.model.dtype)).last_hidden_state
        drops_class_token = self.model.config.vision_feature_select_strategy == "default"
        return features.shape[1] - int(drops_class_token)


def _chat_prompt(processor: Any, image_token: str) -> str:
    """Write the instruction as the checkpoint's chat template has it, or as LLaVA 1.5 was trained if it brings none."""
    if processor.chat_template is None:
        return f"USER: {image_token}\n{INSTRUCTION} ASSISTANT:"
    return instruction_text(processor.tokenizer, processor.chat_template, INSTRUCTION)
