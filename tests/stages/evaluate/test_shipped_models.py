"""The evaluations with the miniature world's own models, on scenes whose right answers are known."""

import random

import pytest

from comat_core.scorers.judge import PairVocabulary
from data.miniature_world.drawing import draw_scene
from data.miniature_world.prompts import held_out_prompts
from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.vocabulary import PLAIN, colour_shape_pairs
from stages.evaluate import attributes, complex, judge, spatial
from stages.models.detectors import ClipSegBoxes
from stages.plan.config import ModelReference
from stages.store.store import Store
from tests.stages.evaluate.evaluations import evaluate, scores_of
from tests.stages.fake_run import images_table, make_artifact, png_of, prompts_tables

BACKGROUND = (172, 174, 170)
PLACES = ((18.0, 30.0), (46.0, 34.0))
COUNT = 24


def scene_png(pairs, random_source):
    """Draw (colour, shape) pairs, the first on the left."""
    objects = tuple(
        SceneObject(shape, colour, PLAIN, x, y, random_source.uniform(9, 12), random_source.uniform(-12, 12))
        for (colour, shape), (x, y) in zip(pairs, PLACES, strict=True)
    )
    return png_of(draw_scene(Scene(objects, BACKGROUND, None)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def inputs(store):
    """A "tuned" model that draws every prompt right, and a "base" that swaps the two colours."""
    vocabulary = PairVocabulary([" ".join(pair) for pair in colour_shape_pairs()])
    random_source = random.Random(0)
    prompts, base, tuned = [], [], []
    for index, (text, skill) in enumerate(held_out_prompts(5, 200)):
        first, second = vocabulary.required_objects(text)
        if skill != "colour" or first.colour == second.colour or len(prompts) == COUNT:
            continue
        right = [(first.colour, first.shape), (second.colour, second.shape)]
        swapped = [(second.colour, first.shape), (first.colour, second.shape)]
        prompt_id = f"test{index}"
        prompts.append((prompt_id, text, skill, "test"))
        base.append((prompt_id, "test", 0, scene_png(swapped, random_source)))
        tuned.append((prompt_id, "test", 0, scene_png(right, random_source)))
    images = {"base": base, "tuned": tuned}
    return {
        "prompts": make_artifact(store, "prompts", tables=prompts_tables(prompts)),
        **{
            model: make_artifact(store, "images", key=model, tables={"images/00000.parquet": images_table(rows)})
            for model, rows in images.items()
        },
    }


def reference(name):
    return ModelReference(path=f"data://miniature/{name}")


def test_attribute_binding_tells_right_colours_from_swapped_ones(store, inputs):
    config = attributes.AttributesConfig(vqa=reference("vqa"), seed=1, resamples=100, device="cpu")
    summary = evaluate(attributes, config, inputs, store).read_json("summary.json")
    assert summary["models"]["tuned"]["attribute_binding"]["n"] == COUNT
    # The miniature VQA model answers about six of seven questions right: perfect scenes do not reach 1.
    assert summary["models"]["tuned"]["attribute_binding"]["mean"] > 0.4
    assert summary["delta"]["attribute_binding"]["low"] > 0.1


def test_judge_sees_the_objects_of_both_and_the_attributes_of_one(store, inputs):
    config = judge.JudgeConfig(judge=reference("judge"), seed=1, resamples=100, device="cpu")
    models = evaluate(judge, config, inputs, store).read_json("summary.json")["models"]
    assert models["base"]["object_accuracy"]["mean"] > 0.95
    assert models["tuned"]["all_right"]["mean"] > 0.9
    assert models["base"]["all_right"]["mean"] < 0.1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_moves_scores_little_and_makes_scores_of_their_own(store, inputs, precision):
    """Probabilities move; what is counted by thresholds mostly does not."""
    configs = {
        judge: judge.JudgeConfig(judge=reference("judge"), seed=1, device="cpu"),
        attributes: attributes.AttributesConfig(vqa=reference("vqa"), seed=1, device="cpu"),
    }
    tolerance = {"bf16": 0.05, "fp16": 0.01}[precision]
    for benchmark, config in configs.items():
        half = config.model_copy(update={"precision": precision})
        assert "precision" not in config.key_payload()
        assert half.scores_payload()["precision"] == half.key_payload()["precision"] == precision
        found = [scores_of(benchmark, one, inputs, store)["tuned"] for one in (config, half)]
        assert found[0].key != found[1].key
        metric = "all_right" if benchmark is judge else "attribute_binding"
        exact, moved = (artifact.read_table("items")[metric].to_pylist() for artifact in found)
        assert abs(sum(exact) - sum(moved)) / len(exact) < tolerance
        if benchmark is attributes:
            assert exact != moved, "or the model was in full precision"


def test_spatial_and_complex_scores_tell_right_places_from_exchanged_ones(store):
    """The "tuned" model draws spatial prompts right; "base" exchanges the two objects."""
    vocabulary = PairVocabulary([" ".join(pair) for pair in colour_shape_pairs()])
    random_source = random.Random(0)
    prompts, base, tuned = [], [], []
    for index, (text, skill) in enumerate(held_out_prompts(5, 300)):
        if skill != "spatial" or "left" not in text or len(prompts) == COUNT // 2:
            continue
        pairs = [(item.colour, item.shape) for item in vocabulary.required_objects(text)]
        prompts.append((f"s{index}", text, skill, "test"))
        base.append((f"s{index}", "test", 0, scene_png(pairs[::-1], random_source)))
        tuned.append((f"s{index}", "test", 0, scene_png(pairs, random_source)))
    inputs = {
        "prompts": make_artifact(store, "prompts", key="places", tables=prompts_tables(prompts)),
        "base": make_artifact(store, "images", key="wrong", tables={"images/00000.parquet": images_table(base)}),
        "tuned": make_artifact(store, "images", key="right", tables={"images/00000.parquet": images_table(tuned)}),
    }
    shared = {"seed": 1, "resamples": 100, "device": "cpu"}
    found = evaluate(
        spatial,
        spatial.SpatialConfig(segmenter=reference("segmenter"), detector=ClipSegBoxes(), **shared),
        inputs,
        store,
    )
    scores = {model: values["spatial"]["mean"] for model, values in found.read_json("summary.json")["models"].items()}
    print(scores)
    assert scores["base"] < 0.1
    assert scores["tuned"] > 0.7
    bound = evaluate(attributes, attributes.AttributesConfig(vqa=reference("vqa"), **shared), inputs, store)
    config = complex.ComplexConfig(parts={"spatial": ("attribute_binding", "spatial")}, seed=1, resamples=100)
    joined = {"prompts": inputs["prompts"], "attributes": bound, "spatial": found}
    summary = complex.STAGE.run(config, joined, store).read_json("summary.json")
    assert summary["delta"]["complex"]["low"] > 0.2
