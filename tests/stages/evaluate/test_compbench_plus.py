"""Numeracy and 3D-spatial on made-up images: scores worked out by hand, then tiny models of the real architectures."""

import pytest
import torch

from comat_core.metrics.spatial import FRAME, Detection
from comat_core.metrics.spatial_3d import spatial_3d_score
from stages.evaluate import numeracy, spatial_3d
from stages.models.detectors import ClipSegBoxes
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.tiny_instance_models import save_tiny_dpt
from tests.tiny_segmenters import save_tiny_clipseg

PROMPTS = [
    ("n", "two dogs and one cat", "numeracy", "test"),
    ("b", "a dog behind a cat", "3d_spatial", "test"),
    ("f", "a man in front of a cat", "3d_spatial", "test"),
    ("t", "the sea", "3d_spatial", "test"),
]


class ScriptedDetector:
    """In images of 16 px: two dogs and a cat in red ones, one dog in blue ones, a man and a cat in grey ones."""

    def detect_objects(self, images, nouns):
        red = [("dog", 0.9, 0, 0), ("cat", 0.8, 2, 2), ("dog", 0.7, 12, 12)]
        grey = [("man", 0.9, 0, 2), ("cat", 0.8, 0, 0)]
        found = []
        for image, of_image in zip(images, nouns, strict=True):
            blue = bool(image[2].mean() == 1 and image[0].mean() == 0)
            boxes = red[:1] if blue else (red if image[2].mean() == 0 else grey)
            seen = [Detection(label, sure, x, y, x + 4, y + 4) for label, sure, x, y in boxes]
            found.append([box for box in seen if box.label in of_image])
        return found


class NearerBelow:
    """The lower a pixel, the nearer."""

    def nearness(self, images, side):
        return torch.linspace(0, 1, side)[None, :, None].expand(len(images), side, side)


@pytest.fixture
def inputs(store):
    colours = {"n": RED, "b": RED, "f": GREY, "t": GREY}
    return make_inputs(store, PROMPTS, colours, {**colours, "n": BLUE, "b": BLUE})


@pytest.fixture
def _scripted(monkeypatch):
    monkeypatch.setattr(ClipSegBoxes, "load", lambda *_args, **_kwargs: ScriptedDetector())
    monkeypatch.setattr("comat_core.scorers.depth.DepthEstimator.load", lambda *_args, **_kwargs: NearerBelow())


def settings(skill, **changes):
    return {
        "segmenter": ModelReference(path="org/detector"),
        "detector": ClipSegBoxes(),
        "skills": (skill,),
        "seed": 1,
        "resamples": 100,
        "device": "cpu",
        **changes,
    }


@pytest.mark.usefixtures("_scripted")
def test_numeracy_of_a_run(store, inputs):
    artifact = evaluate(numeracy, numeracy.NumeracyConfig(**settings("numeracy")), inputs, store)
    rows = {row["model"]: row for row in artifact.read_table("items.parquet").to_pylist()}
    assert rows["base"]["wanted"] == [{"noun": "dog", "count": 2}, {"noun": "cat", "count": 1}]
    assert rows["base"]["numeracy"] == 1.0
    assert rows["tuned"]["numeracy"] == 0.25  # one dog of two, no cat
    assert rows["base"]["boxes"][2]["x_min"] == pytest.approx(12 * FRAME / 16)
    summary = artifact.read_json("summary.json")
    assert summary["delta"]["numeracy"]["mean"] == -0.75
    assert "not comparable with published scores" in summary["protocol"]


@pytest.mark.usefixtures("_scripted")
def test_prompts_that_count_nothing_have_no_numeracy(store, inputs):
    config = numeracy.NumeracyConfig(**settings("numeracy", skills=None, nouns=("dog",)))
    rows = evaluate(numeracy, config, inputs, store).read_table("items.parquet").to_pylist()
    assert {row["prompt_id"] for row in rows} == {"n", "b"}


@pytest.mark.usefixtures("_scripted")
def test_spatial_3d_of_a_run(store, inputs):
    artifact = evaluate(spatial_3d, spatial_3d.Spatial3dConfig(**settings("3d_spatial")), inputs, store)
    scores = {
        (row["model"], row["prompt_id"]): row["spatial_3d"] for row in artifact.read_table("items.parquet").to_pylist()
    }
    # Red: the dog, 4 x 4 px, stands higher, so behind; 2 x 2 of 28 px in common with the cat, of which a half counts
    # whole. Grey: the man stands lower, so in front; 4 x 2 of 24 px in common.
    behind = 0.25 * 0.9 + 0.25 * 0.8 + 0.5 * (4 / 28 / 0.5)
    in_front = 0.25 * 0.9 + 0.25 * 0.8 + 0.5 * (8 / 24 / 0.5)
    assert scores == {
        ("base", "b"): pytest.approx(behind),
        ("base", "f"): pytest.approx(in_front),
        ("base", "t"): None,
        ("tuned", "b"): pytest.approx(0.25 * 0.9),
        ("tuned", "f"): pytest.approx(in_front),
        ("tuned", "t"): None,
    }
    summary = artifact.read_json("summary.json")
    assert summary["models"]["base"]["spatial_3d"]["n"] == 2
    assert summary["models"]["base"]["spatial_3d"]["mean"] == pytest.approx((behind + in_front) / 2)
    assert "not comparable with published scores" in summary["protocol"]


@pytest.mark.usefixtures("_scripted")
def test_the_official_mode_reads_depth_across_and_knows_no_man(store, inputs):
    config = spatial_3d.Spatial3dConfig(**settings("3d_spatial", mode="official"))
    rows = evaluate(spatial_3d, config, inputs, store).read_table("items.parquet").to_pylist()
    scores = {row["prompt_id"]: row["spatial_3d"] for row in rows if row["model"] == "base"}
    # The dog's box begins at (0, 0) and the cat's at (2, 2): exchanging the axes changes nothing there. No label "man"
    # is asked for, and no person seen: a quarter of the cat. No relation is 0.
    assert scores == {
        "b": pytest.approx(0.25 * 0.9 + 0.25 * 0.8 + 0.5 * (4 / 28 / 0.5)),
        "f": pytest.approx(0.25 * 0.8),
        "t": 0.0,
    }


@pytest.mark.usefixtures("_scripted")
def test_objects_without_a_place_count_in_the_official_mode_alone(store):
    prompts = [("p", "a dog and a cat", "3d_spatial", "test")]
    inputs = make_inputs(store, prompts, {"p": RED}, {"p": RED})
    scores = {}
    for mode in ("official", "corrected"):
        artifact = evaluate(spatial_3d, spatial_3d.Spatial3dConfig(**settings("3d_spatial", mode=mode)), inputs, store)
        scores[mode] = artifact.read_table("items.parquet")["spatial_3d"].to_pylist()
    assert scores == {"official": [pytest.approx(0.25 * 0.9 + 0.25 * 0.8)] * 2, "corrected": [None] * 2}


def test_they_run_with_clipseg_and_dpt(store, inputs, tmp_path):
    folder, dpt = save_tiny_clipseg(tmp_path / "clipseg"), save_tiny_dpt(tmp_path / "dpt")
    models = {
        "segmenter": ModelReference(path=folder),
        "detector": ClipSegBoxes(threshold=0.4),
        "batch_size": 3,
    }
    counted = evaluate(numeracy, numeracy.NumeracyConfig(**settings("numeracy", **models)), inputs, store)
    assert all(0 <= score <= 1 for score in counted.read_table("items.parquet")["numeracy"].to_pylist())
    config = spatial_3d.Spatial3dConfig(**settings("3d_spatial", depth=ModelReference(path=dpt), **models))
    rows = evaluate(spatial_3d, config, inputs, store).read_table("items.parquet").to_pylist()
    from comat_core.scorers.depth import DepthEstimator

    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1
    near = DepthEstimator.load(dpt).nearness(red, FRAME)[0].numpy()
    (row,) = [row for row in rows if (row["model"], row["prompt_id"]) == ("base", "b")]
    boxes = [Detection(**box) for box in row["boxes"]]
    assert {box.label for box in boxes} <= {"dog", "cat"}
    assert row["spatial_3d"] == pytest.approx(spatial_3d_score(boxes, ("dog", "cat"), "behind", near), abs=1e-6)
