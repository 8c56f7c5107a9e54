"""The fidelity that cannot be fooled: images damaged on purpose, measured with the shipped networks.

What went wrong once was splatter, melted and doubled outlines, which the judge had been trained to overlook: it names
shapes and colours in blurred and noisy scenes. Its distance hardly feels the damage here; the independent ones do. Hard
dots and strong noise it sees as well, so they would prove nothing.
"""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.miniature_world.pairs import base_world_pair
from data.miniature_world.vocabulary import IMAGE_SIZE
from stages.evaluate import fidelity
from stages.plan.presets import load_preset
from stages.store.store import Store
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.fake_run import images_table, make_artifact, png_of, prompts_tables

COUNT = 150
INDEPENDENT = ("dino", "dino_patches")
PURPLE = np.array([150.0, 70.0, 170.0])


def splattered(image, random):
    """Four soft stains of faint purple."""
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    pixels = image.astype(float)
    for row, column in random.uniform(0, IMAGE_SIZE, size=(4, 2)):
        share = 0.3 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 4.0**2))[..., None]
        pixels = pixels * (1 - share) + PURPLE * share
    return pixels.round().astype(np.uint8)


def blurred(image, _random):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.7)))


def doubled(image, _random):
    """Every outline once more, faintly, two pixels below and to the right."""
    return np.round(0.8 * image + 0.2 * np.roll(image, (2, 2), axis=(0, 1))).astype(np.uint8)


DAMAGES = {"splattered": splattered, "blurred": blurred, "doubled": doubled}


def images_of(store, name, change):
    random = np.random.default_rng(0)
    drawn = (change(base_world_pair(7, "train", index)[0], random) for index in range(COUNT))
    rows = [(f"f{index:03d}", "fidelity", 0, png_of(pixels)) for index, pixels in enumerate(drawn)]
    return make_artifact(store, "images", key=name, tables={"images/00000.parquet": images_table(rows)})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def run(store):
    """Measures scenes of the base world against others, clean as "base" and damaged as "tuned"."""
    prompts = [(f"f{index:03d}", "a scene", "fidelity", "fidelity") for index in range(COUNT)]
    settings = [f"evaluate.fidelity.real.count={2 * COUNT}", "evaluate.fidelity.resamples=100"]
    preset = load_preset("miniature", settings).sections
    shared = {
        "prompts": make_artifact(store, "prompts", tables=prompts_tables(prompts)),
        "train": make_artifact(store, "train", config=preset["train"].model_dump(mode="json")),
        "base": images_of(store, "clean", lambda image, _: image),
    }

    def measure(name):
        tuned = images_of(store, name, DAMAGES[name])
        config = preset["evaluate.fidelity"].model_copy(update={"device": "cpu"})
        return evaluate(fidelity, config, {**shared, "tuned": tuned}, store).read_json("summary.json")

    return measure


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_raises_every_independent_distance_and_hardly_the_judges(run, damage):
    summary = run(damage)
    ratios = {name: summary["delta"][f"frechet_distance_ratio/{name}"] for name in ("judge", *INDEPENDENT)}
    judge = ratios["judge"]["mean"]
    assert judge < 1.15
    for name in INDEPENDENT:
        assert summary["extractors"][name]["independent"]
        assert ratios[name]["low"] > 1.2
        assert ratios[name]["mean"] - 1 > 10 * (judge - 1)
    assert summary["headline"] == "frechet_distance/dino"


def test_undamaged_scenes_are_as_near_to_the_real_ones_as_those_are_to_each_other(run):
    summary = run("doubled")
    for name in INDEPENDENT:
        clean = summary["models"]["base"][f"frechet_distance/{name}"]
        assert clean["mean"] < summary["real_to_real"][f"frechet_distance/{name}"]["high"]
    assert summary["models"]["base"]["density/dino"]["mean"] == pytest.approx(1.0, abs=0.15)
    assert summary["models"]["base"]["coverage/dino"]["mean"] > 0.9
    assert summary["delta"]["density/dino"]["high"] < 0  # damage shows in the density too
