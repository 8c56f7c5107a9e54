import numpy as np
import pyarrow as pa
import pytest
import torch

from comat_core.scorers.judge import PairVocabulary
from comat_core.support.errors import UserError
from stages.evaluate import attributes, judge
from stages.evaluate.scoring.images.generated_images import GeneratedImage, decode_images, read_part, read_prompts
from stages.evaluate.scoring.images.real_images import RealImages, read_real_images
from stages.evaluate.scoring.summaries import summarise_items
from stages.images.image_rows import image_parts
from stages.plan.config import ModelReference
from stages.store.store import Store
from tests.stages.evaluate.evaluations import evaluate, score_key
from tests.stages.evaluate.made_up_images import make_inputs
from tests.stages.fake_run import flat_png, images_table, make_artifact, png_of, prompts_tables

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)

PROMPTS = [
    ("t0", "a red circle and a blue square", "colour", "test"),
    ("t1", "a blue circle to the left of a red square", "spatial", "test"),
    ("f0", "a circle", "fidelity", "fidelity"),
    ("f1", "a square", "fidelity", "fidelity"),
    ("x0", "a red square", "colour", "train"),
]


def image_rows(colours):
    """Rows of one model: two samples of each test and fidelity prompt, in flat colours by prompt."""
    return [
        (prompt_id, split, sample, flat_png(colours[prompt_id][sample]))
        for prompt_id, _, _, split in PROMPTS
        if split != "train"
        for sample in range(2)
    ]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def inputs(store):
    base = image_rows({"t0": [GREY, GREY], "t1": [GREY, RED], "f0": [RED, BLUE], "f1": [GREY, BLUE]})
    tuned = image_rows({"t0": [RED, RED], "t1": [BLUE, GREY], "f0": [RED, RED], "f1": [RED, RED]})
    return {
        "prompts": make_artifact(store, "prompts", tables=prompts_tables(PROMPTS)),
        **{
            model: make_artifact(
                store,
                "images",
                key=model,
                tables={"images/00000.parquet": images_table(rows[:5]), "images/00001.parquet": images_table(rows[5:])},
            )
            for model, rows in (("base", base), ("tuned", tuned))
        },
    }


class RednessAnswerer:
    """Says yes to "red" questions as far as an image is red, and 0.25 to all others."""

    def __init__(self):
        self.calls = []

    def probability_of_yes(self, images, questions, image_of_question=None):
        assert image_of_question is not None
        self.calls.append((len(images), len(questions)))
        red = images[image_of_question, 0].mean(dim=(1, 2)) - images[image_of_question, 1].mean(dim=(1, 2))
        return torch.tensor([float(r) if "red" in q else 0.25 for r, q in zip(red, questions, strict=True)])


class ColourJudge:
    """Sees a red circle in red images and a blue square in blue ones; its features are the mean colour."""

    def __init__(self):
        self.vocabulary = PairVocabulary(["red circle", "blue circle", "red square", "blue square"])

    def look_at(self, images):
        colours = images.mean(dim=(2, 3))
        red, blue = (colours[:, 0] == 1).float(), (colours[:, 2] == 1).float()
        none = torch.zeros_like(red)
        return torch.stack([red, none, none, blue], dim=1), colours

    def as_pairs(self, probabilities):
        return dict(zip(self.vocabulary.pairs, probabilities.tolist(), strict=True))


def test_images_are_read_by_part_and_split(inputs):
    assert image_parts(inputs["base"]) == ["images/00000.parquet", "images/00001.parquet"]
    first = read_part(inputs["base"], "images/00000.parquet", "test")
    assert [(image.prompt_id, image.sample) for image in first] == [("t0", 0), ("t0", 1), ("t1", 0), ("t1", 1)]
    second = read_part(inputs["base"], "images/00001.parquet", "fidelity")
    assert [(image.prompt_id, image.sample) for image in second] == [
        ("f0", 1),
        ("f1", 0),
        ("f1", 1),
    ]
    assert set(read_prompts(inputs["prompts"], "test")) == {"t0", "t1"}


@pytest.mark.usefixtures("redness")
def test_models_with_other_images_than_each_other_are_not_compared(store, inputs):
    rows = image_rows({prompt_id: [RED, RED] for prompt_id in ("t0", "t1", "f0", "f1")})
    other = make_artifact(store, "images", key="other", tables={"images/00000.parquet": images_table(rows[1:])})
    with pytest.raises(AssertionError, match="about the same images"):
        evaluate(attributes, attributes_config(), {**inputs, "tuned": other}, store)


@pytest.mark.usefixtures("redness")
def test_models_whose_images_stand_in_another_order_are_paired_all_the_same(store, inputs):
    images = {"t0": [RED, RED], "t1": [BLUE, GREY], "f0": [RED, RED], "f1": [RED, RED]}  # those of tuned
    tables = {"images/00000.parquet": images_table(image_rows(images)[::-1])}
    other = make_artifact(store, "images", key="other", tables=tables)
    summaries = [
        evaluate(attributes, attributes_config(), one, store).read_json("summary.json")
        for one in (inputs, {**inputs, "tuned": other})
    ]
    assert summaries[0]["models"] == summaries[1]["models"]
    assert summaries[0]["delta"] == summaries[1]["delta"]


def test_decoded_images_are_tensors_in_0_1():
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[1, 2] = (255, 51, 0)
    decoded = decode_images([png_of(pixels)])
    assert decoded.shape == (1, 3, 4, 6)
    torch.testing.assert_close(decoded[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))
    assert decoded.sum() == pytest.approx(1.2)


def test_every_image_is_asked_its_own_prompts_questions_in_batches():
    images = [
        GeneratedImage("p", 0, flat_png(RED)),
        GeneratedImage("q", 3, flat_png(GREY)),
        GeneratedImage("r", 0, flat_png(RED)),
    ]
    questions = {"p": ["a red circle?", "a blue square?"], "q": ["a red star?"], "r": []}
    answerer = RednessAnswerer()
    items = attributes.score_images(images, questions, answerer, batch_size=2)
    assert answerer.calls == [(1, 2), (1, 1)]  # an image with two questions is looked at once
    assert [item["answers"] for item in items] == [[1.0, 0.25], [0.0], []]
    assert [item["attribute_binding"] for item in items] == [0.25, 0.0, 1.0]
    assert (items[1]["prompt_id"], items[1]["sample"]) == ("q", 3)
    assert attributes.score_images(images, questions, RednessAnswerer(), batch_size=100) == items
    assert attributes.score_images(images, questions, RednessAnswerer(), batch_size="auto") == items
    corrected = attributes.score_images(images, questions, RednessAnswerer(), 100, "corrected")
    assert [item["attribute_binding"] for item in corrected] == [0.25, 0.0, None]


def attributes_config(**changes):
    settings = {"vqa": ModelReference(path="org/model"), "seed": 3, "resamples": 200, "device": "cpu", **changes}
    return attributes.AttributesConfig(**settings)


@pytest.fixture
def redness(monkeypatch):
    monkeypatch.setattr(
        "comat_core.scorers.visual_question_answering.VisualQuestionAnswerer.load",
        lambda *_args, **_kwargs: RednessAnswerer(),
    )


@pytest.mark.usefixtures("redness")
def test_attribute_binding_of_a_run(store, inputs):
    artifact = evaluate(attributes, attributes_config(), inputs, store)
    items = {
        (row["model"], row["prompt_id"], row["sample"]): row for row in artifact.read_table("items.parquet").to_pylist()
    }
    assert len(items) == 8
    assert items["tuned", "t0", 0]["questions"] == ["a red circle?", "a blue square?"]
    assert items["tuned", "t1", 1]["questions"] == ["a blue circle?", "a red square?"]  # "the left" is not asked about
    # Base: only the second image of t1 is red: 0.25 of 4 images. Tuned: both of t0: 2 * 0.25 of 4 images.
    summary = artifact.read_json("summary.json")
    assert summary["benchmark"] == "attributes"
    assert summary["models"]["base"]["attribute_binding"]["mean"] == pytest.approx(0.0625)
    assert summary["models"]["tuned"]["attribute_binding"]["mean"] == pytest.approx(0.125)
    assert summary["models"]["tuned"]["attribute_binding"]["n"] == 2
    assert summary["models"]["tuned"]["attribute_binding/colour"]["mean"] == pytest.approx(0.25)
    assert summary["delta"]["attribute_binding"]["mean"] == pytest.approx(0.0625)
    assert set(summary) == {"benchmark", "protocol", "models", "delta", "artifacts"}
    assert set(summary["models"]["base"]["attribute_binding"]) == {"mean", "low", "high", "n"}
    assert set(summary["delta"]["attribute_binding"]) == {"mean", "low", "high"}
    assert sorted(artifact.manifest.files) == ["items.parquet", "summary.json"]


@pytest.mark.usefixtures("redness")
def test_prompts_without_a_phrase_are_no_part_of_the_corrected_mean(store):
    prompts = [("p", "a red circle", "colour", "test"), ("q", "it", "colour", "test")]
    inputs = make_inputs(store, prompts, {"p": RED, "q": RED}, {"p": GREY, "q": RED})
    inputs["prompts"] = make_artifact(store, "prompts", key="seen", tables=prompts_tables(prompts))
    means = {}
    for mode in ("official", "corrected"):
        artifact = evaluate(attributes, attributes_config(mode=mode), inputs, store)
        models = artifact.read_json("summary.json")["models"]
        means[mode] = {
            model: (scores[attributes.METRIC]["mean"], scores[attributes.METRIC]["n"])
            for model, scores in models.items()
        }
    # The official script asks about "it" as well: 0.25. Nobody has to see what "it" is in the corrected mode.
    assert means == {
        "official": {"base": (0.625, 2), "tuned": (0.125, 2)},
        "corrected": {"base": (1, 1), "tuned": (0, 1)},
    }


@pytest.mark.usefixtures("redness")
def test_a_run_whose_prompts_have_no_phrases_has_no_corrected_score(store):
    prompts = [("q", "it", "colour", "test")]
    inputs = make_inputs(store, prompts, {"q": RED}, {"q": RED})
    inputs["prompts"] = make_artifact(store, "prompts", key="seen", tables=prompts_tables(prompts))
    summary = evaluate(attributes, attributes_config(), inputs, store).read_json("summary.json")
    assert (summary["models"], summary["delta"]) == ({"base": {}, "tuned": {}}, {})


@pytest.mark.usefixtures("redness")
def test_attribute_binding_of_chosen_skills_only(store, inputs):
    artifact = evaluate(attributes, attributes_config(skills=("spatial",)), inputs, store)
    assert set(artifact.read_table("items.parquet")["prompt_id"].to_pylist()) == {"t1"}
    assert set(artifact.read_json("summary.json")["models"]["base"]) == {"attribute_binding"}
    with pytest.raises(UserError, match="no image of the chosen prompts"):
        evaluate(attributes, attributes_config(skills=("taste",)), inputs, store)


@pytest.mark.usefixtures("redness")
def test_an_unknown_parser_is_the_users_mistake(store, inputs):
    with pytest.raises(UserError, match="the spaCy pipeline is not installed"):
        evaluate(attributes, attributes_config(parser="no_such_parser"), inputs, store)


def test_batch_size_and_device_do_not_change_the_key_of_scores(inputs):
    unchanged = ({}, {"batch_size": 7}, {"device": "cuda"})
    keys = {score_key(attributes, attributes_config(**changes), inputs) for changes in unchanged}
    assert len(keys) == 1
    assert score_key(attributes, attributes_config(mode="official"), inputs) not in keys


@pytest.mark.parametrize("change", [{"resamples": 300}, {"seed": 4}])
def test_settings_of_the_bootstrap_compare_again_and_score_nothing_again(inputs, change):
    before, after = attributes_config(), attributes_config(**change)
    assert score_key(attributes, before, inputs) == score_key(attributes, after, inputs)
    assert attributes.STAGE.payload_of(before) != attributes.STAGE.payload_of(after)


@pytest.fixture
def colour_judge(monkeypatch):
    monkeypatch.setattr("comat_core.scorers.judge.Judge.load", lambda *_args, **_kwargs: ColourJudge())


@pytest.mark.usefixtures("colour_judge")
def test_judge_scores_of_a_run(store, inputs):
    config = judge.JudgeConfig(judge=ModelReference(path="org/judge"), seed=1, resamples=100, device="cpu")
    artifact = evaluate(judge, config, inputs, store)
    items = {
        (row["model"], row["prompt_id"], row["sample"]): row for row in artifact.read_table("items.parquet").to_pylist()
    }
    red = items["tuned", "t0", 0]  # a red circle, but no blue square
    assert red["seen"] == ["red circle"]
    assert (red["object_accuracy"], red["attribute_accuracy"], red["all_right"]) == (0.5, 0.5, 0.0)
    blue = items["tuned", "t1", 0]  # a blue square where a red one was asked for, no circle
    assert (blue["object_accuracy"], blue["attribute_accuracy"]) == (0.5, 0.0)
    summary = artifact.read_json("summary.json")
    # Base: t1's red image shows a circle of two objects. Tuned: both of t0 and the blue one of t1.
    assert summary["models"]["base"]["object_accuracy"]["mean"] == pytest.approx(0.5 / 4)
    assert summary["models"]["tuned"]["object_accuracy"]["mean"] == pytest.approx(1.5 / 4)
    assert summary["delta"]["attribute_accuracy"]["mean"] == pytest.approx(1.0 / 4)


def test_too_few_real_images_are_the_users_mistake(tmp_path):
    (tmp_path / "one.png").write_bytes(flat_png(RED))
    source = RealImages(folder=ModelReference(path=str(tmp_path)), count=2)
    with pytest.raises(UserError, match="1 images instead of 2"):
        list(read_real_images(source, 0, 16, range(2)))


def test_real_images_of_the_miniature_world_are_those_whose_captions_are_the_fidelity_prompts():
    from data.miniature_world.pairs import base_world_pair

    images = list(read_real_images(RealImages(count=2), 5, 64, range(2)))
    np.testing.assert_array_equal(images[1], base_world_pair(5, "validation", 1)[0])
    with pytest.raises(UserError, match="no images of 512 px"):
        next(iter(read_real_images(RealImages(count=2), 5, 512, range(2))))


def test_items_are_paired_whatever_their_order():
    items = pa.Table.from_pylist(
        [
            {"model": "tuned", "prompt_id": "b", "sample": 0, "score": 1.0},
            {"model": "base", "prompt_id": "a", "sample": 0, "score": 0.5},
            {"model": "tuned", "prompt_id": "a", "sample": 0, "score": 0.75},
            {"model": "base", "prompt_id": "b", "sample": 0, "score": 0.75},
        ]
    )
    summary = summarise_items(
        items, ["score"], benchmark="b", protocol="p", skills={"a": "s", "b": "s"}, seed=0, resamples=100
    )
    # Paired by prompt both differences are 0.25, so the interval has no width.
    assert summary["delta"]["score"] == {"mean": 0.25, "low": 0.25, "high": 0.25}
    assert set(summary["models"]["base"]) == {"score"}  # a single skill is not listed again


def test_skills_are_averaged_without_the_prompts_that_training_sources_hold_as_well():
    scores = {"a": 1.0, "b": 0.0, "c": 0.5, "d": 0.25}
    rows = [
        {"model": model, "prompt_id": key, "sample": 0, "found": value + shift}
        for model, shift in (("base", 0.0), ("tuned", 0.1))
        for key, value in scores.items()
    ]
    skills = {"a": "color", "b": "color", "c": "color", "d": "shape"}
    settings = {"benchmark": "x", "protocol": "y", "skills": skills, "seed": 1, "resamples": 100}
    summary = summarise_items(pa.Table.from_pylist(rows), ["found"], seen={"a", "x"}, **settings)
    base = summary["models"]["base"]
    assert set(base) == {"found", "found/color", "found/color_not_in_training", "found/shape"}
    assert (base["found/color"]["mean"], base["found/color"]["n"]) == (0.5, 3)
    assert (base["found/color_not_in_training"]["mean"], base["found/color_not_in_training"]["n"]) == (0.25, 2)
    assert summary["delta"]["found/color_not_in_training"]["mean"] == pytest.approx(0.1)
    # A skill that is seen as a whole has no such score, and neither has one of which nothing is seen.
    names = set(summarise_items(pa.Table.from_pylist(rows), ["found"], seen={"d"}, **settings)["models"]["base"])
    assert names == {"found", "found/color", "found/shape"}
