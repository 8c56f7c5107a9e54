"""Questions about images that a chat model answers with yes or no (VQAScore's way of asking)."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from comat_core.chat_models.chat_model import ChatModel
from comat_core.support.errors import UserError
from comat_core.support.numerics import at_least_float32

YES: Final = ("Yes", "yes", " Yes", " yes")
NO: Final = ("No", "no", " No", " no")
"""How the answers may be written; those that are one token count, and their probabilities are summed."""


class ChatAnswerer:
    """A frozen chat model that is asked about images, one question a chat."""

    def __init__(self, chat: ChatModel) -> None:
        self.chat = chat
        self._yes, self._no = self._tokens(YES), self._tokens(NO)

    @property
    def model(self) -> nn.Module:
        """The whole model."""
        return self.chat.model

    def log_odds_of_yes(
        self, images: Tensor, questions: Sequence[str], image_of_question: Sequence[int] | None = None
    ) -> Tensor:
        """log p(yes) - log p(no) as the first token of the answer, (Q,); see `VisualQuestionAnswerer.log_odds_of_yes`.

        Float32 at least.
        """
        image_of_question = range(len(images)) if image_of_question is None else image_of_question
        assert len(image_of_question) == len(questions), f"{len(questions)} questions, {len(image_of_question)} images"
        if not questions:
            return torch.zeros(0, device=images.device)
        asked = self.encode_questions(questions)
        longest, shortest = (choose(map(len, asked)) for choose in (max, min))
        padding = self.chat.tokenizer.pad_token_id
        input_ids = torch.tensor([ids + [padding] * (longest - len(ids)) for ids in asked], device=images.device)
        kept = torch.arange(shortest - longest - 1, 0, device=images.device)
        logits = at_least_float32(self.chat.logits(self.chat.see(images).rows(image_of_question), input_ids, kept))
        ends = torch.tensor([len(ids) - shortest for ids in asked], device=images.device)
        answers = logits[torch.arange(len(asked), device=images.device), ends]
        return answers[:, self._yes].logsumexp(dim=1) - answers[:, self._no].logsumexp(dim=1)

    def encode_questions(self, questions: Sequence[str]) -> list[list[int]]:
        """Lay out each question about an image of one token, without padding.

        Raises:
            UserError: a question contains a token of the chat's format, or is longer than the decoder reads.
        """
        self.chat.refuse_reserved(questions)
        encoded = self.chat.tokenizer([self.chat.given(question) for question in questions])["input_ids"]
        for question, ids in zip(questions, encoded, strict=True):
            if len(ids) > self.chat.longest_text:
                raise UserError(
                    f"a question has {len(ids)} tokens", question[:80], f"keep it to {self.chat.longest_text}"
                )
        return encoded

    def _tokens(self, words: Sequence[str]) -> list[int]:
        encoded = [self.chat.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        single = sorted({ids[0] for ids in encoded if len(ids) == 1})
        if not single:
            raise UserError(
                f"the tokenizer has no single token for {words[0]!r}",
                str(self.chat.model.name_or_path),
                "use a checkpoint in English",
            )
        return single
