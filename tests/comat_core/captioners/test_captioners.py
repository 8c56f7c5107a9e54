"""What holds for every captioner."""

import pytest
import torch
from torch import Tensor

from comat_core.captioners import TransformersCaptioner
from comat_core.captioners.blip import BlipCaptioner
from comat_core.captioners.git import GitCaptioner
from comat_core.captioners.llava import LlavaCaptioner
from comat_core.support.randomness import make_generator
from tests.pictures import natural_pictures

CAPTIONERS: dict[str, type[TransformersCaptioner]] = {
    "blip": BlipCaptioner,
    "git": GitCaptioner,
    "llava": LlavaCaptioner,
}
CAPTIONS = ["a red circle", "Two zebras and a blue square", ""]


@pytest.fixture(params=list(CAPTIONERS))
def captioner(request: pytest.FixtureRequest, captioner_folders: dict[str, str]) -> TransformersCaptioner:
    return CAPTIONERS[request.param].load(captioner_folders[request.param])


@torch.no_grad()
def naive_log_probabilities(captioner: TransformersCaptioner, image: Tensor, caption: str) -> list[float]:
    """Feed one caption, token by token, each time all that came before it, and read off the next token's log p."""
    tokens = captioner.tokenize([caption])
    pixel_values = captioner.preprocess(image[None])
    values = []
    for position in range(tokens.first_counted, tokens.input_ids.shape[1]):
        logits = captioner.model(pixel_values=pixel_values, input_ids=tokens.input_ids[:, :position]).logits
        values.append(float(logits[0, -1].log_softmax(0)[tokens.input_ids[0, position]]))
    return values


def test_equals_a_naive_loop_over_captions_and_tokens(captioner: TransformersCaptioner) -> None:
    images = natural_pictures(len(CAPTIONS), 64, 64)
    likelihood = captioner.log_likelihood(images, CAPTIONS)

    for row, caption in enumerate(CAPTIONS):
        expected = torch.tensor(naive_log_probabilities(captioner, images[row], caption))
        torch.testing.assert_close(
            likelihood.log_probabilities[row][likelihood.mask[row]], expected, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(likelihood.per_caption("sum")[row], expected.sum(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(likelihood.per_caption("mean")[row], expected.mean(), rtol=1e-4, atol=1e-5)


def test_padding_is_exactly_zero_and_outside_the_mask(captioner: TransformersCaptioner) -> None:
    likelihood = captioner.log_likelihood(natural_pictures(3, 40, 40), CAPTIONS)

    assert likelihood.mask[2].sum() == 1, "of the empty caption only its ending counts"
    assert not likelihood.mask.all()
    assert (likelihood.log_probabilities[~likelihood.mask] == 0).all()
    assert (likelihood.log_probabilities[likelihood.mask] < 0).all()


def test_prefix_is_given_and_not_scored(captioner: TransformersCaptioner) -> None:
    captioner.prefix = ""
    bare = type(captioner)(captioner.model, _processor(captioner), prefix="")
    prefixed = type(captioner)(captioner.model, _processor(captioner), prefix="a hot dog")
    images = natural_pictures(2, 64, 64)

    without = bare.log_likelihood(images, CAPTIONS[:2])
    with_prefix = prefixed.log_likelihood(images, CAPTIONS[:2])

    assert torch.equal(without.mask, with_prefix.mask)
    assert (without.per_caption() - with_prefix.per_caption()).abs().min() > 1e-3, "the prefix must be read"


def test_gradient_with_respect_to_the_image(captioner: TransformersCaptioner) -> None:
    """Along the gradient the score rises as fast as the gradient says."""
    images = (natural_pictures(2, 64, 64) * 1.2 - 0.1).requires_grad_()
    score = captioner.log_likelihood(images, CAPTIONS[:2]).per_caption().sum()
    (gradient,) = torch.autograd.grad(score, images)
    direction = gradient / gradient.norm()
    step = 2e-2

    with torch.no_grad():
        up = captioner.log_likelihood(images + step * direction, CAPTIONS[:2]).per_caption().sum()
        down = captioner.log_likelihood(images - step * direction, CAPTIONS[:2]).per_caption().sum()

    torch.testing.assert_close((up - down) / (2 * step), gradient.norm(), rtol=0.02, atol=1e-3)
    assert all((gradient[row] != 0).any() for row in range(2))


def test_no_parameter_is_touched(captioner: TransformersCaptioner) -> None:
    images = natural_pictures(1, 64, 64).requires_grad_()
    captioner.log_likelihood(images, CAPTIONS[:1]).per_caption().sum().backward()

    assert all(not parameter.requires_grad and parameter.grad is None for parameter in captioner.model.parameters())
    assert not captioner.model.training


def test_log_softmax_is_float32_under_autocast(captioner: TransformersCaptioner) -> None:
    images = natural_pictures(2, 64, 64)
    tokens = captioner.tokenize(CAPTIONS[:2])
    with torch.autocast("cpu", torch.bfloat16):
        result = captioner.log_likelihood(images, CAPTIONS[:2])
        logits = captioner.model(
            pixel_values=captioner.preprocess(images),
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            logits_to_keep=tokens.predicting_positions,
        ).logits

    assert logits.dtype == torch.bfloat16
    assert result.log_probabilities.dtype == torch.float32
    targets = tokens.input_ids[:, tokens.first_counted :, None]
    expected = logits.double().log_softmax(-1).gather(-1, targets)[..., 0]
    torch.testing.assert_close(
        result.log_probabilities[result.mask], expected[result.mask].float(), rtol=1e-5, atol=1e-5
    )


def test_overlong_caption_is_cut_and_its_ending_does_not_count(captioner: TransformersCaptioner) -> None:
    captions = ["red circle " * 500, "a dog"]
    tokens = captioner.tokenize(captions)
    likelihood = captioner.log_likelihood(natural_pictures(2, 64, 64), captions)

    ids = tokens.input_ids[0][tokens.counted[0]]
    ending = captioner.tokenize(["a"]).input_ids[0, -1]
    assert tokens.attention_mask[0].all()
    assert ending not in ids
    assert ending in tokens.input_ids[1][tokens.counted[1]]
    assert likelihood.per_caption().isfinite().all()


def test_images_may_have_any_size(captioner: TransformersCaptioner) -> None:
    generator = make_generator(0, "sizes")
    for size in [(64, 64), (17, 17), (100, 60)]:
        images = torch.rand(1, 3, *size, generator=generator)
        assert captioner.log_likelihood(images, ["a red circle"]).per_caption().isfinite().all()


def test_half_precision_weights(captioner_folders: dict[str, str]) -> None:
    for kind, captioner_class in CAPTIONERS.items():
        images = natural_pictures(1, 64, 64).requires_grad_()
        full = captioner_class.load(captioner_folders[kind])
        half = captioner_class.load(captioner_folders[kind], dtype=torch.bfloat16)
        expected = full.log_likelihood(images, ["a red circle"]).per_caption("mean")
        result = half.log_likelihood(images, ["a red circle"]).per_caption("mean")
        result.sum().backward()

        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected, rtol=0.1, atol=0.2)
        assert images.grad is not None
        assert images.grad.dtype == torch.float32
        assert images.grad.isfinite().all()


def _processor(captioner: TransformersCaptioner) -> object:
    from comat_core.support.pretrained import load_processor

    return load_processor(captioner.model.name_or_path)
