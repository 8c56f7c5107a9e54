"""Equation 7 over a run's images, on log-likelihoods that are made up, and with the shipped captioner."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from comat_core.captioners import CaptionLikelihood
from comat_core.support.errors import UserError
from data.miniature_world.pairs import base_world_pair
from stages.evaluate import sensitivity
from stages.evaluate.scoring.images.captioned_images import CaptionedImages
from stages.evaluate.sensitivity import SensitivityConfig
from stages.models.captioners import Blip
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs

PROMPT = "a red circle to the left of a blue square"
SWAPPED = "a blue circle to the left of a red square"
PROMPTS = [
    ("t0", PROMPT, "spatial", "test"),
    ("t1", "bright and calm", "colour", "test"),
    ("f0", PROMPT, "f", "fidelity"),
]


class ColourReader:
    """On red images the right prompt has log-likelihood -2 - 2 and all others -3 - 3; on other images all -5 - 3."""

    def __init__(self):
        self.batches = []

    def log_likelihood(self, images, captions):
        self.batches.append(len(captions))
        red = images[:, 0].mean(dim=(1, 2)) - images[:, 1].mean(dim=(1, 2)) == 1
        rows = [
            ([-2.0, -2.0] if caption == PROMPT else [-3.0, -3.0]) if is_red else [-5.0, -3.0]
            for is_red, caption in zip(red.tolist(), captions, strict=True)
        ]
        return CaptionLikelihood(torch.tensor(rows), torch.ones(len(rows), 2, dtype=torch.bool))


@pytest.fixture
def reader(monkeypatch):
    made_up = ColourReader()
    monkeypatch.setattr(Blip, "load", lambda *_args, **_kwargs: made_up)
    # No test gets the captioner that another has left in memory.
    monkeypatch.setattr("stages.evaluate.scoring.models_in_memory._kept", OrderedDict())
    return made_up


@pytest.fixture
def inputs(store):
    return make_inputs(store, PROMPTS, {"t0": GREY, "t1": RED, "f0": RED}, {"t0": RED, "t1": RED, "f0": RED}, samples=2)


@pytest.fixture
def aro(tmp_path):
    """Two images in ARO's layout: one with box and wrong caption, one with neither."""
    (tmp_path / "images").mkdir()
    halves = np.zeros((20, 40, 3), np.uint8)
    halves[:, :20], halves[:, 20:] = RED, BLUE
    Image.fromarray(halves).save(tmp_path / "images" / "0.png")
    box = {"bbox_x": 0, "bbox_y": 4, "bbox_w": 20, "bbox_h": 10}
    records = [
        {"image_path": "0.png", **box, "true_caption": PROMPT, "false_caption": "a square and a  circle"},
        {"image_path": "0.png", "true_caption": "a blue circle above a red square"},
    ]
    (tmp_path / "list.json").write_text(json.dumps(records))
    return tmp_path


def config(**changes):
    settings = {"captioner": ModelReference(path="org/blip"), "seed": 1, "resolution": 64, "resamples": 100, **changes}
    return SensitivityConfig(**{"device": "cpu", "real": CaptionedImages(count=3), **settings})


def aro_images(folder, count=2):
    place = ModelReference(path=str(folder))
    return CaptionedImages(source="aro", folder=place, annotations="list.json", images="images", count=count)


def test_sensitivity_of_a_run_by_equation_7(store, inputs, aro, reader):
    artifact = evaluate(sensitivity, config(real=aro_images(aro), batch_size=3), inputs, store)
    rows = artifact.read_table("items.parquet").to_pylist()
    generated = [row for row in rows if row["model"] != "real"]
    assert {row["prompt_id"] for row in generated} == {"t0"}  # the other prompt holds nothing to corrupt
    by_kind = {(row["model"], row["sample"], row["corruption"]): row for row in generated}
    swapped = by_kind["tuned", 1, "attribute"]
    assert (swapped["text"], swapped["corrupted_text"]) == (PROMPT, SWAPPED)
    assert (swapped["log_probability"], swapped["corrupted_log_probability"]) == (-4.0, -6.0)
    assert swapped["sensitivity"] == 0.5  # (-4 + 6) / 4
    assert by_kind["base", 0, "relation"]["sensitivity"] == 0.0  # (-8 + 8) / 8
    given = next(row for row in rows if row["corruption"] == "given")
    assert (given["prompt_id"], given["corrupted_text"]) == ("list:0", "a square and a circle")
    assert given["sensitivity"] == 0.5  # its box holds the red half alone
    summary = artifact.read_json("summary.json")
    assert set(summary["models"]) == {"base", "tuned", "real"}
    assert summary["models"]["tuned"]["sensitivity"]["mean"] == 0.5
    assert summary["models"]["tuned"]["sensitivity/attribute"]["n"] == 1
    assert summary["delta"]["sensitivity/relation"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert summary["models"]["real"]["sensitivity/given"]["mean"] == 0.5
    assert summary["models"]["real"]["sensitivity/attribute"]["mean"] == 0.0  # all of the other image: half blue
    assert "sensitivity/given" not in summary["delta"]
    assert "log-likelihoods by org/blip (blip); 2 real images: aro" in summary["protocol"]
    assert set(summary["artifacts"]) == {"base", "tuned"}
    assert max(reader.batches) == 3


def test_real_images_of_the_miniature_world_are_those_that_no_training_sees(store, inputs, reader):
    rows = evaluate(sensitivity, config(), inputs, store).read_table("items.parquet").to_pylist()
    captions = {base_world_pair(1, "validation", index)[1] for index in range(3)}
    assert {row["text"] for row in rows if row["model"] == "real"} <= captions
    assert reader.batches


def test_real_images_come_in_shards_of_their_own(store, inputs, monkeypatch, reader):
    monkeypatch.setattr(sensitivity, "REAL_IMAGES_PER_SHARD", 2)
    assert sensitivity.count_real_shards(config(), {}) == 2
    artifact = evaluate(sensitivity, config(), inputs, store)
    assert artifact.read_json("summary.json")["models"]["real"]["sensitivity"]["n"] == 3
    assert reader.batches


def test_the_shipped_captioner_tells_real_scenes_from_corrupted_captions(store, inputs):
    shipped = config(captioner=ModelReference(path="data://miniature/captioner"), real=CaptionedImages(count=40))
    real = evaluate(sensitivity, shipped, inputs, store).read_json("summary.json")["models"]["real"]
    print({name: round(value["mean"], 3) for name, value in real.items()})
    assert real["sensitivity/attribute"]["low"] > 0.1
    assert real["sensitivity/relation"]["low"] > 0.0


def test_too_few_real_images_are_told_before_anything_runs(aro):
    with pytest.raises(UserError, match="2 images instead of 5"):
        sensitivity.REAL_SCORES.key(config(real=aro_images(aro, count=5)), {})


def test_the_key_follows_the_list_and_not_its_place(aro, tmp_path):
    before = sensitivity.REAL_SCORES.key(config(real=aro_images(aro)), {})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "list.json").write_text((aro / "list.json").read_text())
    assert sensitivity.REAL_SCORES.key(config(real=aro_images(elsewhere)), {}) == before
    (elsewhere / "list.json").write_text(json.dumps(json.loads((aro / "list.json").read_text())[::-1]))
    assert sensitivity.REAL_SCORES.key(config(real=aro_images(elsewhere)), {}) != before


def test_a_source_has_a_folder_or_is_the_miniature_world():
    with pytest.raises(ValidationError, match="source aro needs a folder"):
        CaptionedImages(source="aro")
    with pytest.raises(ValidationError, match="has no folder"):
        CaptionedImages(folder=ModelReference(path="/data"))
