import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from pydantic import ValidationError

from comat_core.backbones.adapters import add_lora, save_lora
from comat_core.backbones.loading import load_backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed, make_generator
from stages import images
from stages.plan.config import ModelReference
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.comat_core.stock_sampling import stock_pipeline
from tests.stages.fake_run import make_artifact, prompts_table

PROMPTS = [
    ("p0", "a red circle", "color", "train"),
    ("t0", "a green star", "color", "test"),
    ("f0", "two dogs", "fidelity", "fidelity"),
    ("t1", "a striped blue square", "texture", "test"),
]
ROWS = [("f0", "fidelity", 0), ("t0", "test", 0), ("t0", "test", 1), ("t1", "test", 0), ("t1", "test", 1)]


def config(folder: Path, **changes: Any) -> images.ImagesConfig:
    settings = {
        "seed": 5,
        "resolution": 32,
        "base": ModelReference(path=str(folder)),
        "sampling": {"scheduler": "ddim", "num_inference_steps": 3, "guidance_scale": 4.0},
        "shard_size": 3,
        "batch_size": 2,
        "device": "cpu",
    }
    return images.ImagesConfig(**(settings | changes))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)})


def trained(store: Store, folder: Path, lora_folder: Path, scale: float) -> Artifact:
    """A train artifact whose LoRA's weights are noise of the given scale."""
    model = load_backbone(folder)
    for index, parameter in enumerate(add_lora(model, "comat", rank=2, seed=1)):
        parameter.data = scale * torch.randn(parameter.shape, generator=make_generator(1, "trained", index))
    save_lora(model, lora_folder, "comat")
    return make_artifact(store, "train", key=f"train-{scale}", folder=lora_folder)


def pixels(artifact: Artifact) -> list[np.ndarray]:
    rows = artifact.read_table("images").to_pylist()
    return [np.asarray(Image.open(io.BytesIO(row["png"]))).astype(int) for row in rows]


def identities(artifact: Artifact) -> list[tuple[str, str, int]]:
    rows = artifact.read_table("images").to_pylist()
    return [(row["prompt_id"], row["split"], row["sample"]) for row in rows]


def test_base_and_tuned_draw_the_same_rows_from_the_same_noise(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    settings = config(tiny_sd_folder)
    base = images.run(settings, {"prompts": prompts}, store)
    assert identities(base) == ROWS
    assert base.files() == ["images/00000.parquet", "images/00001.parquet"]

    unchanged = trained(store, tiny_sd_folder, tmp_path / "zero", scale=0.0)
    tuned = trained(store, tiny_sd_folder, tmp_path / "trained", scale=0.5)
    same = images.run(settings, {"prompts": prompts, "train": unchanged}, store)
    different = images.run(settings, {"prompts": prompts, "train": tuned}, store)
    assert len({base.key, same.key, different.key}) == 3
    assert identities(different) == ROWS
    assert max(np.abs(left - right).max() for left, right in zip(pixels(base), pixels(same), strict=True)) <= 1
    assert all(np.abs(left - right).max() > 20 for left, right in zip(pixels(base), pixels(different), strict=True))
    first, second = pixels(base)[1:3]
    assert np.abs(first - second).max() > 20, "two samples of a prompt begin with different noise"


def test_an_image_is_the_stock_pipelines_of_the_derived_seed(
    store: Store, prompts: Artifact, tiny_sd_folder: Path
) -> None:
    settings = config(tiny_sd_folder)
    drawn = pixels(images.run(settings, {"prompts": prompts}, store))[4]
    seed = derive_seed(5, "image noise", "t1", 1)
    assert images.image_seed(5, "t1", 1) == seed
    pipeline = stock_pipeline(tiny_sd_folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    stock = pipeline(
        "a striped blue square",
        height=32,
        width=32,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=make_generator(seed, "trajectory"),
    ).images[0]
    assert np.abs(np.asarray(stock).astype(int) - drawn).max() <= 1


def test_a_split_without_prompts_is_named(store: Store, prompts: Artifact, tiny_sd_folder: Path) -> None:
    with pytest.raises(UserError, match="no prompt is of the split 'tifa'"):
        images.run(config(tiny_sd_folder, samples={"tifa": 1}), {"prompts": prompts}, store)
    with pytest.raises(ValidationError, match=r"no evaluation reads the split 'val'; those that are read: test, "):
        config(tiny_sd_folder, samples={"val": 1})
    with pytest.raises(ValidationError):
        config(tiny_sd_folder, samples={"test": 0})


def test_sizes_of_batches_that_follow_from_memory_draw_the_same_images(
    prompts: Artifact, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    drawn = {
        size: images.run(
            config(tiny_sd_folder, batch_size=size), {"prompts": prompts}, Store(str(tmp_path / str(size)))
        )
        for size in (1, "auto")
    }
    assert drawn["auto"].key == drawn[1].key
    assert identities(drawn["auto"]) == identities(drawn[1]) == ROWS
    for one, other in zip(pixels(drawn["auto"]), pixels(drawn[1]), strict=True):
        assert np.abs(one - other).max() <= 1
