"""Each captioner's likelihood against the loss that transformers computes itself, and what is special to each."""

import pytest
import torch
from torch import Tensor

from comat_core.captioners.blip import BlipCaptioner
from comat_core.captioners.git import GitCaptioner
from comat_core.captioners.llava import INSTRUCTION, LlavaCaptioner
from comat_core.captioners.protocol import CaptionLikelihood
from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_processor
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_captioners import IMAGE_SIDE, PATCH_SIDE, blip_processor, word_piece_tokenizer

CAPTIONS = ["a red circle", "a hot-dog above two zebras"]


def own_labels(input_ids: Tensor, attention_mask: Tensor, given_length: int) -> Tensor:
    """Make labels as the fine-tuning examples of transformers do: padding and the given text are ignored."""
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :given_length] = -100
    return labels


def mean_over_tokens(likelihood: CaptionLikelihood) -> Tensor:
    return likelihood.log_probabilities.sum() / likelihood.mask.sum()


def test_blip_equals_its_own_loss(captioner_folders: dict[str, str]) -> None:
    captioner = BlipCaptioner.load(captioner_folders["blip"])
    processor = load_processor(captioner_folders["blip"])
    images = natural_pictures(2, IMAGE_SIDE, IMAGE_SIDE)
    texts = [f"a photography of {caption}" for caption in CAPTIONS]
    inputs = processor(images=as_bytes(images), text=texts, padding=True, return_tensors="pt")
    inputs["input_ids"][:, 0] = captioner.model.config.text_config.bos_token_id

    loss = captioner.model(**inputs, labels=own_labels(inputs["input_ids"], inputs["attention_mask"], 4)).loss

    torch.testing.assert_close(-mean_over_tokens(captioner.log_likelihood(images, CAPTIONS)), loss)


def test_blip_likelihood_is_not_smoothed(captioner_folders: dict[str, str]) -> None:
    images = natural_pictures(2, 64, 64)
    smoothed = BlipCaptioner.load(captioner_folders["blip smoothed"])
    plain = BlipCaptioner.load(captioner_folders["blip"])
    assert smoothed.model.text_decoder.label_smoothing == 0.1

    torch.testing.assert_close(
        smoothed.log_likelihood(images, CAPTIONS).per_caption(), plain.log_likelihood(images, CAPTIONS).per_caption()
    )


def test_blip_starts_with_the_decoder_token_and_ends_with_sep(captioner_folders: dict[str, str]) -> None:
    captioner = BlipCaptioner.load(captioner_folders["blip"])
    tokens = captioner.tokenize(["a red circle"])

    names = captioner.tokenizer.convert_ids_to_tokens(tokens.input_ids[0, 1:].tolist())
    assert tokens.input_ids[0, 0] == len(captioner.tokenizer)
    assert names == ["a", "photography", "of", "a", "red", "circle", "[SEP]"]
    assert tokens.counted[0].tolist() == [False] * 4 + [True] * 4


def test_blip_captions_are_lower_cased_even_for_a_cased_tokenizer(captioner_folders: dict[str, str]) -> None:
    processor = blip_processor(word_piece_tokenizer())
    processor.tokenizer.backend_tokenizer.normalizer = None
    captioner = BlipCaptioner(BlipCaptioner.load(captioner_folders["blip"]).model, processor)

    assert torch.equal(captioner.tokenize(["A Red CIRCLE"]).input_ids, captioner.tokenize(["a red circle"]).input_ids)


def test_git_equals_its_own_loss(captioner_folders: dict[str, str]) -> None:
    captioner = GitCaptioner.load(captioner_folders["git"])
    processor = load_processor(captioner_folders["git"])
    images = natural_pictures(2, IMAGE_SIDE, IMAGE_SIDE)
    texts = [f"a photography of {caption}" for caption in CAPTIONS]
    inputs = processor(images=as_bytes(images), text=texts, padding=True, return_tensors="pt")
    labels = own_labels(inputs["input_ids"], inputs["attention_mask"], 4)

    loss = captioner.model(
        pixel_values=inputs["pixel_values"],
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        labels=labels,
    ).loss

    torch.testing.assert_close(-mean_over_tokens(captioner.log_likelihood(images, CAPTIONS)), loss)


@pytest.mark.parametrize("checkpoint", ["llava", "llava chat"])
def test_llava_equals_its_own_loss_on_its_own_processor(captioner_folders: dict[str, str], checkpoint: str) -> None:
    captioner = LlavaCaptioner.load(captioner_folders[checkpoint])
    processor = load_processor(captioner_folders[checkpoint])
    images = natural_pictures(2, IMAGE_SIDE, IMAGE_SIDE)
    given = f"USER: <image>\n{INSTRUCTION} ASSISTANT: a photography of"
    texts = [f"{given} {caption}</s>" for caption in CAPTIONS]
    inputs = processor(images=as_bytes(images), text=texts, padding=True, padding_side="right", return_tensors="pt")
    given_length = processor(images=as_bytes(images[:1]), text=[given], return_tensors="pt")["input_ids"].shape[1]

    tokens = captioner.tokenize(CAPTIONS)
    assert torch.equal(tokens.input_ids, inputs["input_ids"])
    assert tokens.first_counted == given_length
    loss = captioner.model(
        **inputs, labels=own_labels(inputs["input_ids"], inputs["attention_mask"], given_length)
    ).loss
    torch.testing.assert_close(-mean_over_tokens(captioner.log_likelihood(images, CAPTIONS)), loss)


def test_llava_expands_the_image_to_one_token_per_patch(captioner_folders: dict[str, str]) -> None:
    """Also where the processor has lost the numbers to compute it from, as in older checkpoints."""
    processor = load_processor(captioner_folders["llava"])
    processor.patch_size = None
    processor.num_additional_image_tokens = 0
    captioner = LlavaCaptioner(LlavaCaptioner.load(captioner_folders["llava"]).model, processor)

    ids = captioner.tokenize(["a dog"]).input_ids
    assert (ids == captioner.model.config.image_token_id).sum() == (IMAGE_SIDE // PATCH_SIDE) ** 2


def test_llava_refuses_the_place_holder_in_a_caption(captioner_folders: dict[str, str]) -> None:
    captioner = LlavaCaptioner.load(captioner_folders["llava"])

    with pytest.raises(UserError, match="a caption contains <image>"):
        captioner.tokenize(["an <image> of a dog"])
