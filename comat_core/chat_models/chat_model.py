"""What all chat models share: the text around an image, and the decoder's logits for it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from comat_core.support.chat_templates import answer_ending, instruction_text
from comat_core.support.errors import UserError
from comat_core.support.pretrained import FrozenReader


@dataclass(frozen=True)
class SeenImages:
    """What the decoder reads of B images in place of words."""

    features: Tensor
    """(B, N, D): N image tokens, in the order in which they stand in the text."""
    grid: tuple[int, int]
    """Rows and columns of image tokens; their product is N."""
    deeper: tuple[Tensor, ...] = ()
    """(B, N, D) each: added to the image tokens behind the decoder's first layers (DeepStack)."""

    def rows(self, numbers: Sequence[int]) -> "SeenImages":
        """Image numbers[i] at place i; an image may come several times."""
        chosen = torch.tensor([*numbers], dtype=torch.long, device=self.features.device)
        deeper = tuple(features[chosen] for features in self.deeper)
        return replace(self, features=self.features[chosen], deeper=deeper)


class ChatModel(FrozenReader, ABC):
    """A frozen model of one image and text; a subclass says how it looks at an image.

    Texts hold one image token, which stands for all of an image's: how many these are follows from the images' size.
    Everything in front of it is the same in every text, so that a batch is padded on the right, where a causal decoder
    does not look: no mask is needed, and a text is scored alike alone and among others.
    """

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        super().__init__(model, processor)
        self._template: str | None = processor.chat_template
        self._where = str(model.name_or_path)
        if self._template is None and self.tokenizer.chat_template is None:
            raise UserError("the checkpoint has no chat template", self._where, "use a checkpoint tuned for chats")
        self.image_token = self.tokenizer.convert_ids_to_tokens(model.config.image_token_id)
        self.ending = answer_ending(self.tokenizer, self._template, self._where)
        self._reserved = tuple(self.tokenizer.get_added_vocab())
        self.image_column = self.tokenizer(self.given("")).input_ids.index(model.config.image_token_id)

    @property
    @abstractmethod
    def most_image_tokens(self) -> int:
        """How many tokens an image may turn into."""

    @abstractmethod
    def see(self, images: Tensor) -> SeenImages:
        """Look at (B, 3, H, W) images in [0, 1], differentiably. No tensor's value is read."""

    @property
    def longest_text(self) -> int:
        """How many tokens of text the decoder can read beside an image."""
        return self.model.config.text_config.max_position_embeddings - self.most_image_tokens

    def given(self, instruction: str) -> str:
        """What the model reads of an image and an instruction, up to where its answer begins."""
        return instruction_text(self.tokenizer, self._template, instruction)

    def refuse_reserved(self, texts: Sequence[str]) -> None:
        """Let no text pass for a part of the chat's format.

        Raises:
            UserError: one contains a token that the format is made of.
        """
        for text in texts:
            for token in self._reserved:
                if token in text:
                    raise UserError(f"a text contains {token}", text[:80], "remove the place-holder")

    def logits(self, seen: SeenImages, input_ids: Tensor, kept: Tensor) -> Tensor:
        """Read texts about images.

        Args:
            seen: B images.
            input_ids: (B, T), right-padded, with one image token each.
            kept: (L,) positions counted from the sequence's end, below 0: at these the logits are wanted.

        Returns:
            (B, L, V).
        """
        column, words = self.image_column, self.model.get_input_embeddings()
        before, after = words(input_ids[:, :column]), words(input_ids[:, column + 1 :])
        embeddings = torch.cat([before, seen.features.to(before.dtype), after], dim=1)
        with self.deeper_features(seen, embeddings.shape[1]):
            return self.model(
                inputs_embeds=embeddings,
                position_ids=self.positions(seen, *embeddings.shape[:2]),
                logits_to_keep=kept,
                use_cache=False,
            ).logits

    def positions(self, _seen: SeenImages, _batch: int, _length: int) -> Tensor | None:
        """Positions of the tokens, (..., B, T); None if they are numbered in a row."""
        return None

    def deeper_features(self, _seen: SeenImages, _length: int) -> AbstractContextManager[None]:
        """A context in which the decoder's layers read `seen.deeper`, in sequences of that length."""
        return nullcontext()
