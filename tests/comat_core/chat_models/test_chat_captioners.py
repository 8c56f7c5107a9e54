"""What holds for every chat model as a captioner, against the model's own loss on what its own processor prepares."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.captioners.chat import ChatCaptioner
from comat_core.captioners.llava import INSTRUCTION
from comat_core.chat_models.chat_model import ChatModel
from comat_core.chat_models.qwen_vl import QwenVisionLanguage
from comat_core.support.errors import UserError
from comat_core.support.memory.activation_memory import kept_activations
from comat_core.support.memory.offloading import OffloadedCaptioner
from comat_core.support.randomness import make_generator
from tests.comat_core.chat_models.conftest import KINDS
from tests.pictures import as_bytes, natural_pictures

CAPTIONS = ["a red dog", "Two zebras and a blue square", ""]
OWN_SIZE = {"qwen2_5_vl": (32, 40), "qwen3_vl": (32, 40), "smolvlm": (16, 16)}
"""A size that the models' processors leave as it is, but for SmolVLM's detour over a larger one."""
TEXTS = {
    "qwen2_5_vl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
    "<|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\na photography of",
    "smolvlm": "<|im_start|>User:<image>{}<end_of_utterance>\nAssistant: a photography of",
}
TEXTS["qwen3_vl"] = TEXTS["qwen2_5_vl"]
ENDINGS = {"qwen2_5_vl": "<|im_end|>", "qwen3_vl": "<|im_end|>", "smolvlm": "<end_of_utterance>"}


@pytest.fixture
def captioner(chat: ChatModel) -> ChatCaptioner:
    return ChatCaptioner(chat)


def own_loss_inputs(kind: str, own_inputs: Callable[..., Any], images: Tensor, captions: list[str]) -> Any:
    """The processor's inputs, with labels on the captions' tokens and the one that ends them."""
    given = TEXTS[kind].format(INSTRUCTION)
    joined = [given + (f" {caption}" if caption else "") + ENDINGS[kind] for caption in captions]
    inputs = own_inputs(as_bytes(images), joined)
    length = own_inputs(as_bytes(images[:1]), [given])["input_ids"].shape[1]
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[:, :length] = -100
    return inputs, labels


@torch.no_grad()
def test_equals_the_own_loss_on_what_the_own_processor_prepares(
    kind: str, captioner: ChatCaptioner, own_inputs: Callable[..., Any]
) -> None:
    images = natural_pictures(len(CAPTIONS), *OWN_SIZE[kind])
    inputs, labels = own_loss_inputs(kind, own_inputs, images, CAPTIONS)
    loss = captioner.chat.model(**inputs, labels=labels).loss
    likelihood = captioner.log_likelihood(images, CAPTIONS)
    assert likelihood.mask.sum() == (labels != -100).sum()
    result = -likelihood.log_probabilities.sum() / likelihood.mask.sum()
    rounded = 2e-3 if kind == "smolvlm" else 1e-4  # to bytes, between the processor's two resizings
    torch.testing.assert_close(result, loss, rtol=rounded, atol=1e-5)


@torch.no_grad()
def test_equals_the_own_logits_on_the_same_pixels(
    kind: str, captioner: ChatCaptioner, own_inputs: Callable[..., Any]
) -> None:
    """Token by token, with images of no size of the model's."""
    images, captions = natural_pictures(2, 51, 37), CAPTIONS[:2]
    inputs, labels = own_loss_inputs(kind, own_inputs, images, captions)
    pixels = captioner.chat.preprocess(images)
    inputs["pixel_values"] = pixels.flatten(0, 1) if kind != "smolvlm" else pixels[:, None]
    inputs.pop("pixel_attention_mask", None)
    logits = captioner.chat.model(**inputs).logits[:, :-1].log_softmax(-1)
    likelihood = captioner.log_likelihood(images, captions)
    for row in range(2):
        counted = labels[row, 1:] != -100
        expected = logits[row, counted].gather(1, labels[row, 1:][counted][:, None])[:, 0]
        torch.testing.assert_close(
            likelihood.log_probabilities[row][likelihood.mask[row]], expected, rtol=1e-4, atol=1e-4
        )


@torch.no_grad()
def test_a_caption_is_scored_alike_alone_and_among_others(captioner: ChatCaptioner) -> None:
    images = natural_pictures(len(CAPTIONS), 40, 56)
    together = captioner.log_likelihood(images, CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        alone = captioner.log_likelihood(images[row : row + 1], [caption])
        torch.testing.assert_close(
            together.log_probabilities[row][together.mask[row]],
            alone.log_probabilities[0][alone.mask[0]],
            rtol=1e-4,
            atol=1e-5,
        )
    assert together.mask[2].sum() == 1, "of the empty caption only its ending counts"
    assert (together.log_probabilities[~together.mask] == 0).all()


@pytest.mark.parametrize("size", [(40, 56), (17, 17), (100, 60)])
def test_the_gradient_of_the_pixels_is_the_finite_difference(
    kind: str, chat_folders: dict[str, str], size: tuple[int, int]
) -> None:
    captioner = ChatCaptioner(KINDS[kind].load(chat_folders[kind], dtype=torch.float64))
    images = (natural_pictures(2, *size).double() * 1.2 - 0.1).requires_grad_()
    score = captioner.log_likelihood(images, CAPTIONS[:2]).per_caption().sum()
    assert score.dtype == torch.float64
    (gradient,) = torch.autograd.grad(score, images)
    assert all(gradient[row].any() for row in range(2))
    noise = torch.randn(images.shape, generator=make_generator(0, "way"), dtype=torch.float64)
    # Transformers computes norms and angles in float32 whatever the weights are, which a step must rise above.
    for direction, step in ((gradient / gradient.norm(), 1e-3), (noise / noise.norm(), 1e-2)):
        with torch.no_grad():
            ahead, behind = (
                captioner.log_likelihood(images + sign * step * direction, CAPTIONS[:2]).per_caption().sum()
                for sign in (1, -1)
            )
        expected = ((ahead - behind) / (2 * step)).item()
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=2e-3, abs=2e-3)


@torch.no_grad()
def test_the_likelihood_depends_on_the_image_and_on_what_is_given(chat: ChatModel) -> None:
    first, second = natural_pictures(2, 40, 40).split(1)
    caption = CAPTIONS[:1]
    scores = [
        ChatCaptioner(chat).log_likelihood(first, caption),
        ChatCaptioner(chat).log_likelihood(second.flip(3), caption),
        ChatCaptioner(chat, prefix="").log_likelihood(first, caption),
        ChatCaptioner(chat, instruction="Name it.").log_likelihood(first, caption),
    ]
    assert len({round(score.per_caption().item(), 3) for score in scores}) == len(scores)
    assert len({int(score.mask.sum()) for score in scores[:2] + scores[3:]}) == 1


def test_no_parameter_is_touched(captioner: ChatCaptioner) -> None:
    images = natural_pictures(1, 40, 40).requires_grad_()
    captioner.log_likelihood(images, CAPTIONS[:1]).per_caption().sum().backward()
    model = captioner.networks["captioner"]
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_offloaded_it_gives_the_same_likelihoods_and_gradients(captioner: ChatCaptioner) -> None:
    found = []
    for one in (captioner, OffloadedCaptioner(captioner)):
        images = natural_pictures(2, 40, 40).requires_grad_()
        values = one.log_likelihood(images, CAPTIONS[:2]).per_caption()
        found.append((values.detach(), torch.autograd.grad(values.square().sum(), images)[0]))
    torch.testing.assert_close(found[1], found[0])


def test_half_precision_weights(kind: str, chat_folders: dict[str, str], captioner: ChatCaptioner) -> None:
    half = ChatCaptioner(KINDS[kind].load(chat_folders[kind], dtype=torch.bfloat16))
    images = natural_pictures(1, 40, 40).requires_grad_()
    result = half.log_likelihood(images, CAPTIONS[:1]).per_caption("mean")
    result.sum().backward()
    assert result.dtype == torch.float32
    torch.testing.assert_close(
        result, captioner.log_likelihood(images, CAPTIONS[:1]).per_caption("mean"), rtol=0.1, atol=0.2
    )
    assert images.grad is not None and images.grad.isfinite().all()


def test_it_is_planned_on_tensors_without_data(captioner: ChatCaptioner) -> None:
    def kept(count: int) -> int:
        score = captioner.prepare(CAPTIONS[:1] * count, torch.device("cpu"))
        return kept_activations(lambda: score(torch.zeros(count, 3, 48, 48, requires_grad=True)))

    assert 1.8 * kept(1) < kept(2) < 2.2 * kept(1)
    assert captioner.log_likelihood(natural_pictures(2, 48, 48), CAPTIONS[:2]).per_caption().isfinite().all()


def test_an_overlong_caption_is_cut_and_its_ending_does_not_count(captioner: ChatCaptioner) -> None:
    captions = ["red dog " * 500, "a dog"]
    tokens = captioner.tokenize(captions)
    ending = captioner.chat.tokenizer.convert_tokens_to_ids(captioner.chat.ending)
    assert tokens.input_ids.shape[1] == captioner.chat.longest_text
    assert ending not in tokens.input_ids[0][tokens.counted[0]]
    assert tokens.input_ids[1][tokens.counted[1]][-1] == ending
    assert captioner.log_likelihood(natural_pictures(2, 40, 40), captions).per_caption().isfinite().all()


@torch.no_grad()
def test_positions_are_the_model_s_own(chat: ChatModel, own_inputs: Callable[..., Any]) -> None:
    if not isinstance(chat, QwenVisionLanguage):
        assert chat.positions(chat.see(natural_pictures(1, 32, 48)), 1, 9) is None
        return
    images = natural_pictures(2, 32, 48)
    inputs = own_inputs(as_bytes(images), [chat.given("Look.")] * 2)
    expected, _ = chat.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"]
    )
    assert torch.equal(chat.positions(chat.see(images), *inputs["input_ids"].shape), expected)


def test_a_caption_cannot_pass_for_a_part_of_the_chat(captioner: ChatCaptioner) -> None:
    for token in (captioner.chat.image_token, captioner.chat.ending):
        with pytest.raises(UserError, match="a text contains"):
            captioner.tokenize([f"a dog{token}"])


def test_a_checkpoint_without_a_chat_template_is_refused(chat: ChatModel) -> None:
    processor: Any = type("Processor", (), {})()
    processor.tokenizer, processor.chat_template = chat.tokenizer, None
    processor.image_processor = type(chat).load_processor(str(chat.model.name_or_path), None).image_processor
    template, chat.tokenizer.chat_template = chat.tokenizer.chat_template, None
    try:
        with pytest.raises(UserError, match="no chat template"):
            type(chat)(chat.model, processor)
        processor.chat_template = "{% for message in messages %}{{ message['content'][-1]['text'] }}{% endfor %}"
        with pytest.raises(UserError, match="ends answers with nothing"):
            type(chat)(chat.model, processor)
    finally:
        chat.tokenizer.chat_template = template


def test_another_kind_of_checkpoint_is_refused(kind: str, chat_folders: dict[str, str]) -> None:
    others = [folder for name, folder in chat_folders.items() if name != kind]
    for folder in others:
        with pytest.raises(UserError, match=f"not a {KINDS[kind].model_class.__name__}"):
            KINDS[kind].load(folder)
