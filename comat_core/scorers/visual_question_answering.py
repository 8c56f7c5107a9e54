"""Questions about images, answered by BLIP (BlipForQuestionAnswering) as T2I-CompBench asks them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor
from transformers import BlipForQuestionAnswering

from comat_core.language.question_text import clean_question
from comat_core.support.errors import UserError
from comat_core.support.pretrained import FrozenReader


@dataclass(frozen=True)
class QuestionProtocol:
    """How an image and a question reach the model."""

    image_side: int | None
    """Pixels to which images are squashed; None is the size that the checkpoint was saved for."""
    max_question_tokens: int | None
    """What is kept of a question, the start and end tokens included; None is all that the model can read."""


OFFICIAL: Final = QuestionProtocol(image_side=480, max_question_tokens=35)
"""T2I-CompBench's own. The public transformers checkpoints are saved for 384 px: their position embeddings, once shrunk
from the original's 480 px, are stretched again."""
CORRECTED: Final = QuestionProtocol(image_side=None, max_question_tokens=None)
"""It differs in two points: images have the size the checkpoint's position embeddings are for, and long questions stay
whole."""


class VisualQuestionAnswerer(FrozenReader):
    """A frozen BLIP that is asked about images.

    Under both protocols a question is lower-cased, loses the signs that BLIP's own preprocessing drops, and begins with
    the [ENC] token that its question encoder was trained with (the last of the vocabulary, 30523 in the original) in
    place of the tokenizer's [CLS].
    """

    model_class = BlipForQuestionAnswering

    def __init__(
        self, model: BlipForQuestionAnswering, processor: Any, *, protocol: QuestionProtocol = OFFICIAL
    ) -> None:
        super().__init__(model, processor)
        self.protocol = protocol
        side = protocol.image_side
        if side is not None:
            self.preprocess = replace(self.preprocess, size=(side, side), crop=None)
        self._yes, self._no = (self._token_id(word) for word in ("yes", "no"))

    @torch.no_grad()
    def probability_of_yes(
        self, images: Tensor, questions: Sequence[str], image_of_question: Sequence[int] | None = None
    ) -> Tensor:
        """Ask for yes or no: p(yes) / (p(yes) + p(no)), in [0, 1]; arguments as `log_odds_of_yes` takes them."""
        return self.log_odds_of_yes(images, questions, image_of_question).sigmoid()

    def log_odds_of_yes(
        self, images: Tensor, questions: Sequence[str], image_of_question: Sequence[int] | None = None
    ) -> Tensor:
        """Ask for yes or no: log p(yes) - log p(no) as the first token of the answer, differentiably.

        Args:
            images: (B, 3, H, W) in [0, 1].
            questions: Q questions.
            image_of_question: which image each question is about; None if question i is about image i. An image that
                several questions are about is looked at once.

        Returns:
            (Q,) float32, above 0 where yes is the likelier answer.
        """
        places: list[int] = []
        answers = []
        for rows, states in self._read_questions(images, questions, image_of_question):
            logits = self.model.text_decoder(
                input_ids=self._answer_starts(len(rows)), encoder_hidden_states=states, use_cache=False
            ).logits[:, 0]
            places += rows
            answers.append(logits[:, self._yes].float() - logits[:, self._no].float())
        if not answers:
            return torch.zeros(0, device=images.device)
        return torch.cat(answers)[torch.tensor(places, device=images.device).argsort()]

    @torch.no_grad()
    def answer(
        self,
        images: Tensor,
        questions: Sequence[str],
        image_of_question: Sequence[int] | None = None,
        *,
        max_tokens: int = 10,
    ) -> list[str]:
        """Answer freely, by the likeliest token at each step; arguments as `probability_of_yes` takes them."""
        text_config = self.model.config.text_config
        answers = [""] * len(questions)
        for rows, states in self._read_questions(images, questions, image_of_question):
            sequences = self.model.text_decoder.generate(
                input_ids=self._answer_starts(len(rows)),
                encoder_hidden_states=states,
                eos_token_id=text_config.sep_token_id,
                pad_token_id=text_config.pad_token_id,
                max_new_tokens=max_tokens,
                do_sample=False,
            )
            texts = self.tokenizer.batch_decode(sequences[:, 1:], skip_special_tokens=True)
            for row, text in zip(rows, texts, strict=True):
                answers[row] = text.strip()
        return answers

    def encode_questions(self, questions: Sequence[str]) -> list[list[int]]:
        """Tokenize each question, without padding."""
        text_config = self.model.config.text_config
        encoding = self.tokenizer(
            [clean_question(question) for question in questions],
            truncation=True,
            max_length=self.protocol.max_question_tokens or text_config.max_position_embeddings,
        )
        encoder_token = text_config.vocab_size - 1
        return [[encoder_token, *ids[1:]] for ids in encoding["input_ids"]]

    def _read_questions(
        self, images: Tensor, questions: Sequence[str], image_of_question: Sequence[int] | None
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Read each question in the light of its image; yield rows of questions and their (rows, L, D) states.

        Questions of equal length go together, so that there is no padding: the decoder of BLIP in transformers does not
        hand its cross-attention the mask, and would read padding as part of the question.
        """
        image_of_question = range(len(images)) if image_of_question is None else image_of_question
        assert len(image_of_question) == len(questions), f"{len(questions)} questions, {len(image_of_question)} images"
        pixel_values = self.preprocess(images).to(self.model.dtype)
        trained_side = self.model.config.vision_config.image_size
        seen = self.model.vision_model(
            pixel_values=pixel_values, interpolate_pos_encoding=pixel_values.shape[-1] != trained_side
        ).last_hidden_state
        encoded = self.encode_questions(questions)
        for length in sorted({len(ids) for ids in encoded}):
            rows = [row for row, ids in enumerate(encoded) if len(ids) == length]
            states = self.model.text_encoder(
                input_ids=torch.tensor([encoded[row] for row in rows], device=images.device),
                encoder_hidden_states=seen[[image_of_question[row] for row in rows]],
            ).last_hidden_state
            yield rows, states

    def _answer_starts(self, count: int) -> Tensor:
        """Give `count` answers their first token, the decoder's start."""
        return torch.full((count, 1), self.model.config.text_config.bos_token_id, device=self.model.device)

    def _token_id(self, word: str) -> int:
        token_id = self.tokenizer.convert_tokens_to_ids(word)
        if token_id in (None, self.tokenizer.unk_token_id):
            raise UserError(
                f"the tokenizer has no word {word!r}", self.model.name_or_path, "use a BLIP checkpoint in English"
            )
        return token_id
