"""The CLIP cosine against the stock model."""

import pytest
import torch

from comat_core.scorers.clip_score import ClipScorer
from comat_core.support.pretrained import load_processor
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_clip import CLIP_SIDE, save_tiny_clip

TEXTS = ["a red dog", "star", "two zebras"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def scorer(folder: str) -> ClipScorer:
    return ClipScorer.load(folder)


def test_equals_the_stock_model_s_logits_without_their_scale(scorer: ClipScorer, folder: str) -> None:
    images = natural_pictures(3, CLIP_SIDE, CLIP_SIDE)
    inputs = load_processor(folder)(text=TEXTS, images=as_bytes(images), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = scorer.model(**inputs).logits_per_image

    expected = logits.diagonal() / scorer.model.logit_scale.exp()
    torch.testing.assert_close(scorer.score(images, TEXTS), expected, rtol=1e-4, atol=1e-4)


def test_is_the_cosine_of_the_projections(scorer: ClipScorer) -> None:
    images = natural_pictures(1, 50, 80)
    tokens = scorer.tokenizer([TEXTS[0]], return_tensors="pt")
    with torch.no_grad():
        image = scorer.model.visual_projection(scorer.model.vision_model(scorer.preprocess(images)).pooler_output)[0]
        text = scorer.model.text_projection(scorer.model.text_model(**tokens).pooler_output)[0]

    expected = (image @ text) / (image.norm() * text.norm())
    torch.testing.assert_close(scorer.score(images, TEXTS[:1])[0], expected, rtol=1e-4, atol=1e-5)


def test_pair_does_not_depend_on_its_batch(scorer: ClipScorer) -> None:
    images = natural_pictures(3, 50, 80)
    alone = [scorer.score(images[row : row + 1], TEXTS[row : row + 1]) for row in range(3)]

    torch.testing.assert_close(scorer.score(images, TEXTS), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_overlong_text_is_cut(scorer: ClipScorer) -> None:
    assert scorer.score(natural_pictures(1, 40, 40), ["star " * 100]).isfinite().all()
