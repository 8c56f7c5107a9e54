"""A CLIP of open_clip against the package's own preprocessing, model and tokenizer."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from comat_core.rewards.clip_similarity import ClipSimilarity
from comat_core.support.errors import UserError
from comat_core.support.memory.activation_memory import kept_activations
from comat_core.support.memory.offloading import OffloadedReward
from comat_core.support.randomness import make_generator
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_open_clip import ARCHITECTURE, SIDE, save_tiny_open_clip, tiny_open_clip

open_clip = pytest.importorskip("open_clip")
from comat_core.scorers.open_clip_score import OpenClipScorer, preprocessing_of  # noqa: E402

TEXTS = ["a red dog", "star", "two zebras to the left of a bench"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("open_clip")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> OpenClipScorer:
    return OpenClipScorer.load(save_tiny_open_clip(folder), architecture=ARCHITECTURE)


@torch.no_grad()
@pytest.mark.parametrize("sides", [(SIDE, SIDE), (70, 70), (50, 80)])
def test_equals_the_package_s_own_logits(scorer: OpenClipScorer, folder: Path, sides: tuple[int, int]) -> None:
    images = natural_pictures(3, *sides)
    model = tiny_open_clip(folder)
    _, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE, load_weights=False)
    pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in as_bytes(images)]
    pixels = torch.stack([transform(picture) for picture in pictures])
    torch.testing.assert_close(scorer.preprocess(images), pixels, rtol=0, atol=0.03)
    seen, _, scale = model(pixels, open_clip.get_tokenizer(ARCHITECTURE)(TEXTS))
    read = model.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(TEXTS), normalize=True)
    expected = scale * (seen * read).sum(dim=1)
    found = ClipSimilarity(scorer).prepare(TEXTS, images.device)(images)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(scorer.similarity(images, TEXTS) * scale, found)


def test_the_gradient_of_the_images_is_the_finite_difference(scorer: OpenClipScorer) -> None:
    images = natural_pictures(len(TEXTS), 48, 48).requires_grad_()
    score = ClipSimilarity(scorer).prepare(TEXTS, images.device)
    (gradient,) = torch.autograd.grad(score(images).sum(), images)
    assert all(one.any() for one in gradient)
    direction = gradient / gradient.norm() + 0.02 * torch.randn(images.shape, generator=make_generator(1, "way"))
    step = 2e-2 / direction.norm()
    with torch.no_grad():
        ahead, behind = (score(images + sign * step * direction).double().sum() for sign in (1, -1))
    expected = (gradient.double() * direction).sum().item()
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(expected, rel=2e-2)


@torch.no_grad()
def test_a_pair_does_not_depend_on_its_batch(scorer: OpenClipScorer) -> None:
    images = natural_pictures(3, 50, 50)
    alone = [scorer.similarity(images[row : row + 1], TEXTS[row : row + 1]) for row in range(3)]
    together = scorer.similarity(images, TEXTS)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert together.unique().numel() == 3 and together.dtype == torch.float32


def test_offloaded_and_planned_as_any_other(scorer: OpenClipScorer) -> None:
    reward = ClipSimilarity(scorer)
    found = []
    for one in (reward, OffloadedReward(reward)):
        images = natural_pictures(3, 40, 40).requires_grad_()
        values = one.prepare(TEXTS, images.device)(images)
        found.append((values.detach(), torch.autograd.grad(values.square().sum(), images)[0]))
    torch.testing.assert_close(found[1], found[0])
    score = reward.prepare(TEXTS, torch.device("cpu"))
    assert kept_activations(lambda: score(torch.zeros(3, 3, 40, 40, requires_grad=True))) > 0


def test_both_formats_hold_the_same_and_precision_is_kept(scorer: OpenClipScorer, folder: Path) -> None:
    path = save_tiny_open_clip(folder, "tiny.safetensors")
    images = natural_pictures(3, 40, 40)
    other = OpenClipScorer.load(path, architecture=ARCHITECTURE)
    assert torch.equal(other.similarity(images, TEXTS), scorer.similarity(images, TEXTS))
    half = OpenClipScorer.load(path, architecture=ARCHITECTURE, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    found = half.similarity(images, TEXTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, scorer.similarity(images, TEXTS), atol=0.05, rtol=0.05)


def test_an_overlong_text_is_cut(scorer: OpenClipScorer) -> None:
    assert scorer.similarity(natural_pictures(1, 40, 40), ["star " * 100]).isfinite().all()


class Opened:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("opened", "w")


def test_what_is_no_checkpoint_of_it_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_tiny_open_clip(folder)
    weights = torch.load(path, weights_only=True)["state_dict"]
    cases = {
        "missing": ({"state_dict": dict(list(weights.items())[1:])}, ARCHITECTURE, "does not fit the model: Missing"),
        "code": ({"state_dict": Opened()}, ARCHITECTURE, "cannot read the checkpoint"),
        "numbers": ({"state_dict": {"a": 1}}, ARCHITECTURE, "holds no state dict"),
        "unknown": ({"state_dict": weights}, "ViT-Z-1", "knows no architecture 'ViT-Z-1'"),
        "remote": ({"state_dict": weights}, "hf-hub:org/name", "knows no architecture"),
    }
    for name, (content, architecture, message) in cases.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(UserError, match=message):
            OpenClipScorer.load(str(tmp_path / f"{name}.pt"), architecture=architecture)
    assert not (tmp_path / "opened").exists()


def test_a_model_whose_images_are_prepared_otherwise_is_refused(folder: Path) -> None:
    model = tiny_open_clip(folder)
    model.visual.preprocess_cfg["resize_mode"] = "squash"
    with pytest.raises(UserError, match="prepares images for"):
        preprocessing_of(model, ARCHITECTURE)
