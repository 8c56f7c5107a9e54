"""The shipped models of the miniature world: each loads in its real format and does its work on unseen scenes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

import data
from comat_core.support.randomness import make_generator
from data.miniature_world.accuracy import measure_accuracy

FOLDER = Path(data.__file__).parent / "miniature"
MEGABYTES = 25
OTHER_BASE = "sd3"
MEGABYTES_OF_OTHER_BASE = 12

# The captioner, the VQA model and the judge must be good; the base model knows its shapes, and no more.
LEAST = {
    "base_objects": 0.87,
    "judge_exact": 0.95,
    "captioner_prefers_right_colours": 0.97,
    "git_prefers_right_colours": 0.9,
    "vqa_accuracy": 0.95,
    "vqa_accuracy_of_places": 0.95,
    "captioner_prefers_right_places": 0.95,
    "git_prefers_right_places": 0.95,
    "segmenter_iou": 0.6,
    "segmenter_absent_empty": 0.9,
    "dino_shape_of_patch": 0.35,  # of six
    "dino_colour_of_patch": 0.95,
}


@pytest.fixture(scope="module")
def accuracy() -> dict[str, float]:
    return measure_accuracy(FOLDER)


@pytest.mark.slow
@pytest.mark.parametrize("measure", sorted(LEAST))
def test_models_are_as_good_as_their_work_needs(accuracy: dict[str, float], measure: str) -> None:
    assert accuracy[measure] >= LEAST[measure]


@pytest.mark.slow
def test_autoencoder_keeps_the_colours_apart(accuracy: dict[str, float]) -> None:
    assert accuracy["autoencoder_rmse"] < 0.04


@pytest.mark.slow
def test_base_model_goes_wrong_and_not_always(accuracy: dict[str, float]) -> None:
    assert 0.3 <= accuracy["base_all_right"] <= 0.5


def test_base_model_is_a_stock_pipeline() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER / "base", safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    generator = make_generator(0, "stock pipeline")
    image: Any = pipeline("a red circle", num_inference_steps=2, generator=generator, output_type="pt").images[0]  # type: ignore[operator]
    assert image.shape == (3, 64, 64)
    assert torch.isfinite(image).all()


def test_cross_attention_stands_in_down_mid_and_up_blocks() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER / "base", safety_checker=None)
    blocks = {name.split("_")[0] for name, _ in pipeline.unet.named_modules() if name.endswith("attn2")}
    assert blocks == {"down", "mid", "up"}


def test_the_other_base_model_is_a_stock_pipeline() -> None:
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(FOLDER / OTHER_BASE)
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 2, "output_type": "pt", "height": 64, "width": 64, "max_sequence_length": 24}
    image = pipeline("a red circle", generator=make_generator(0, "other stock pipeline"), **settings).images[0]
    assert image.shape == (3, 64, 64)
    assert torch.isfinite(image).all()


def test_both_base_models_have_one_autoencoder() -> None:
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert (FOLDER / OTHER_BASE / weights).read_bytes() == (FOLDER / "base" / weights).read_bytes()


def test_all_weights_are_safetensors_and_small() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    others = [path for path in files if path.is_relative_to(FOLDER / OTHER_BASE)]
    of_others = sum(path.stat().st_size for path in others)
    assert 0 < of_others < MEGABYTES_OF_OTHER_BASE * 1e6
    assert sum(path.stat().st_size for path in files) - of_others < MEGABYTES * 1e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt"}


def test_the_card_tells_seeds_and_times() -> None:
    card = (FOLDER / "README.md").read_text()
    for name in ("base", "captioner", "vqa", "judge", "segmenter", "git", "dino", "sd3"):
        assert f"| {name} |" in card
