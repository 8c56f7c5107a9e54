"""BLIP's answers against a computation by hand through the stock model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from comat_core.language.question_text import clean_question
from comat_core.scorers.visual_question_answering import CORRECTED, OFFICIAL, VisualQuestionAnswerer
from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_processor
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_captioners import IMAGE_SIDE, blip_processor, save_tiny_question_answerer, word_piece_tokenizer

QUESTIONS = ["a red dog?", "how many striped white stars?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_question_answerer(tmp_path_factory.mktemp("vqa"))


@pytest.fixture
def answerer(folder: str) -> VisualQuestionAnswerer:
    return VisualQuestionAnswerer.load(folder, protocol=CORRECTED)


@torch.no_grad()
def by_hand(answerer: VisualQuestionAnswerer, pixel_values: Tensor, question: str, *, interpolate: bool) -> float:
    """p(yes) / (p(yes) + p(no)) from the stock model's own losses of the answers "yes" and "no"."""
    tokenizer, config = answerer.tokenizer, answerer.model.config.text_config
    inputs = tokenizer([question], return_tensors="pt", truncation=True, max_length=35)
    inputs["input_ids"][:, 0] = len(tokenizer) + 1
    probabilities = []
    for word in ("yes", "no"):
        answer = torch.tensor([[config.bos_token_id, tokenizer.convert_tokens_to_ids(word)]])
        loss = answerer.model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=pixel_values,
            labels=answer,
            interpolate_pos_encoding=interpolate,
        ).loss
        probabilities.append(float((-loss).exp()))
    return probabilities[0] / sum(probabilities)


def test_probability_equals_the_one_by_hand(answerer: VisualQuestionAnswerer, folder: str) -> None:
    images = natural_pictures(2, IMAGE_SIDE, IMAGE_SIDE)
    pixel_values = load_processor(folder).image_processor(as_bytes(images), return_tensors="pt").pixel_values
    expected = [by_hand(answerer, pixel_values[row : row + 1], QUESTIONS[row], interpolate=False) for row in range(2)]

    result = answerer.probability_of_yes(images, QUESTIONS)

    torch.testing.assert_close(result, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert (result[0] - result[1]).abs() > 1e-3


def test_official_protocol_squashes_to_480_pixels(folder: str) -> None:
    official = VisualQuestionAnswerer.load(folder)
    images = natural_pictures(1, 100, 160)
    own = load_processor(folder).image_processor
    pixel_values = own(as_bytes(images), size={"height": 480, "width": 480}, return_tensors="pt").pixel_values
    expected = by_hand(official, pixel_values, QUESTIONS[0], interpolate=True)

    result = official.probability_of_yes(images, QUESTIONS[:1])

    torch.testing.assert_close(result, torch.tensor([expected]), rtol=2e-3, atol=2e-3)
    assert official.preprocess(images).shape == (1, 3, 480, 480)


def test_questions_about_one_image_look_at_it_once(answerer: VisualQuestionAnswerer) -> None:
    images = natural_pictures(2, 40, 50)
    looks = []
    answerer.model.vision_model.register_forward_hook(lambda *_: looks.append(1))
    together = answerer.probability_of_yes(images, [*QUESTIONS, QUESTIONS[0]], [1, 1, 0])
    assert len(looks) == 1

    for row, (question, image) in enumerate(zip([*QUESTIONS, QUESTIONS[0]], [1, 1, 0], strict=True)):
        alone = answerer.probability_of_yes(images[image : image + 1], [question])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


def test_question_begins_with_the_encoder_token(answerer: VisualQuestionAnswerer) -> None:
    first, second = answerer.encode_questions(QUESTIONS)

    assert first[0] == second[0] == answerer.model.config.text_config.vocab_size - 1
    assert answerer.tokenizer.convert_ids_to_tokens(first[1:]) == ["a", "red", "dog", "?", "[SEP]"]


def test_only_the_official_protocol_cuts_questions(folder: str) -> None:
    question = "dog " * 100
    lengths = [
        len(VisualQuestionAnswerer.load(folder, protocol=protocol).encode_questions([question])[0])
        for protocol in (OFFICIAL, CORRECTED)
    ]

    assert lengths == [35, 40]


def test_free_answer_takes_the_likeliest_token_until_the_end(answerer: VisualQuestionAnswerer) -> None:
    images = natural_pictures(2, 40, 40)
    answers = answerer.answer(images, QUESTIONS, max_tokens=4)

    for row in range(2):
        ((_, states),) = answerer._read_questions(images[row : row + 1], QUESTIONS[row : row + 1], None)
        ids = [answerer.model.config.text_config.bos_token_id]
        while len(ids) < 5 and ids[-1] != answerer.tokenizer.sep_token_id:
            with torch.no_grad():
                logits = answerer.model.text_decoder(input_ids=torch.tensor([ids]), encoder_hidden_states=states).logits
            ids.append(int(logits[0, -1].argmax()))
        assert answers[row] == answerer.tokenizer.decode(ids[1:], skip_special_tokens=True).strip()
    assert any(answers)


def test_signs_are_dropped_as_blip_does() -> None:
    assert clean_question('A "Red" Dog (hot): yes!; no. #1~* ?  ') == "a red dog hot yes no 1 ?"


def test_tokenizer_without_yes_is_refused(answerer: VisualQuestionAnswerer) -> None:
    vocabulary = {piece: index for piece, index in word_piece_tokenizer().get_vocab().items() if piece != "yes"}
    processor = blip_processor(type(word_piece_tokenizer())(vocab=vocabulary))

    with pytest.raises(UserError, match="no word 'yes'"):
        VisualQuestionAnswerer(answerer.model, processor)


def test_captioner_checkpoint_is_refused(tmp_path: Path) -> None:
    from tests.tiny_captioners import save_tiny_blip

    with pytest.raises(UserError, match="not a BlipForQuestionAnswering"):
        VisualQuestionAnswerer.load(save_tiny_blip(tmp_path))
