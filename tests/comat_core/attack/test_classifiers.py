"""The classifiers see what the models of transformers see."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPProcessor

from comat_core.attack.classifiers import JudgeClassifier, ZeroShotClassifier
from comat_core.scorers.judge import Judge
from comat_core.support.randomness import make_generator
from tests.tiny_clip import CLIP_SIDE, save_tiny_clip

JUDGE = Path(__file__).parents[3] / "data" / "miniature" / "judge"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand((3, 3, CLIP_SIDE, CLIP_SIDE), generator=make_generator(1, "images"))


def test_zero_shot_logits_are_clips_own(tmp_path: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comat_core.attack.classifiers.TEXTS_AT_ONCE", 2)
    names, folder = ("tench", "cat", "red fox"), save_tiny_clip(tmp_path)
    classifier = ZeroShotClassifier.load(folder, classes=names, template="a {}.")
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    tokens = processor.tokenizer([f"a {name}." for name in names], padding=True, return_tensors="pt")
    with torch.no_grad():
        own = model(
            pixel_values=classifier.preprocess(images),
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
        ).logits_per_image
    pixels = images.requires_grad_()
    found = classifier.logits(pixels)
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-4)
    assert torch.autograd.grad(found[:, 0].sum(), pixels)[0].abs().sum() > 0
    assert classifier.classes == names


def test_the_judges_logits_are_those_of_its_probabilities(images: torch.Tensor) -> None:
    judge = Judge.load(str(JUDGE))
    classifier = JudgeClassifier(judge)
    found = classifier.logits(images.requires_grad_())
    torch.testing.assert_close(found.sigmoid(), judge.look_at(images.detach())[0])
    assert found.requires_grad
    assert len(classifier.classes) == found.shape[1] == 48
