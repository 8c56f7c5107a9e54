"""A chat model as the captioner: Qwen2.5-VL, Qwen3-VL or SmolVLM, asked to describe the image."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from comat_core.captioners.caption_tokens import CaptionTokens, caption_likelihood, tokenize_captions
from comat_core.captioners.llava import INSTRUCTION
from comat_core.captioners.protocol import DEFAULT_PREFIX, CaptionLikelihood
from comat_core.chat_models.chat_model import ChatModel


class ChatCaptioner:
    """log p(caption | image, instruction) of a frozen chat model.

    The caption is scored as the assistant's answer to an instruction, after the prefix. What counts: the caption's
    tokens, letter case kept, and the token with which the chat template ends an answer.
    """

    def __init__(self, chat: ChatModel, *, prefix: str = DEFAULT_PREFIX, instruction: str = INSTRUCTION) -> None:
        self.chat = chat
        prompt = chat.given(instruction)
        joint = "" if not prefix or prompt[-1].isspace() else " "
        self._given = prompt + joint + prefix

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The whole model."""
        return {"captioner": self.chat.model}

    def tokenize(self, captions: Sequence[str]) -> CaptionTokens:
        """Lay out the captions as answers about an image of one token, and mark what counts.

        Raises:
            UserError: a caption contains a token of the chat's format.
        """
        self.chat.refuse_reserved(captions)
        chat = self.chat
        return tokenize_captions(
            chat.tokenizer, self._given, captions, ending=chat.ending, max_length=chat.longest_text
        )

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        """Score captions[i] on images[i]; see `ImageToText`."""
        assert len(images) == len(captions), f"{len(images)} images for {len(captions)} captions"
        return self.prepare(captions, images.device)(images)

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        """Lay out captions, to score images with; see `ImageToText`."""
        tokens = self.tokenize(captions).to(device)

        def score(images: Tensor) -> CaptionLikelihood:
            logits = self.chat.logits(self.chat.see(images), tokens.input_ids, tokens.predicting_positions)
            return caption_likelihood(logits, tokens)

        return score
