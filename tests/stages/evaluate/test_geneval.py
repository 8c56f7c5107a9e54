"""GenEval on made-up images: verdicts and means worked out by hand, then tiny models of the real architectures."""

import json

import pytest
import torch

from comat_core.metrics.spatial import Detection
from comat_core.support.errors import UserError
from stages.evaluate import geneval
from stages.evaluate.scoring.objects.class_detectors import ClassDetectorSettings
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.models.detectors import Mask2Former
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.tiny_clip import save_tiny_clip
from tests.tiny_instance_models import save_tiny_mask2former

DOG, CAT = {"class": "dog", "count": 1}, {"class": "cat", "count": 1}
METADATA = [
    {"tag": "single_object", "include": [DOG], "prompt": "a photo of a dog"},
    {
        "tag": "counting",
        "include": [{"class": "dog", "count": 2}],
        "exclude": [{"class": "dog", "count": 3}],
        "prompt": "a photo of two dogs",
    },
    {"tag": "counting", "include": [{"class": "dog", "count": 3}], "prompt": "a photo of three dogs"},
    {"tag": "colors", "include": [{**DOG, "color": "red"}], "prompt": "a photo of a red dog"},
    {
        "tag": "position",
        "include": [CAT, {**DOG, "position": ["left of", 0]}],
        "prompt": "a photo of a dog left of a cat",
    },
]
PROMPTS = [
    ("one", "a photo of a  dog", "single_object", "geneval"),
    ("two", "a photo of two dogs", "counting", "geneval"),
    ("three", "a photo of three dogs", "counting", "geneval"),
    ("red", "a photo of a red dog", "colors", "geneval"),
    ("left", "a photo of a dog left of a cat", "position", "geneval"),
    ("strange", "a prompt that is not of the benchmark", "other", "geneval"),
]


class ScriptedDetector:
    """In red images a dog left of a cat, and a doubtful dog; in blue ones three dogs; nothing in grey ones."""

    def detect_objects(self, images, nouns):
        found = []
        for image, of_image in zip(images, nouns, strict=True):
            boxes = []
            if image[0].mean() == 1:
                boxes = [("dog", 0.95, 0), ("cat", 0.8, 11), ("dog", 0.6, 5)]
            elif image[2].mean() == 1:
                boxes = [("dog", 0.95, 0), ("dog", 0.94, 5), ("dog", 0.93, 10)]
            seen = [Detection(label, confidence, x, 4, x + 4, 8) for label, confidence, x in boxes]
            found.append([box for box in seen if box.label in of_image])
        return found


class ScriptedColours:
    def classify(self, image, _name, objects):
        return ["red" if image[0].mean() == 1 else "blue"] * len(objects)


@pytest.fixture
def inputs(store):
    base = {name: RED for name, *_ in PROMPTS}
    return make_inputs(
        store, PROMPTS, base, {**base, "one": GREY, "two": BLUE, "three": BLUE, "red": BLUE, "left": GREY}
    )


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "metadata.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in METADATA))
    return QuestionFile(file=str(path))


def config_of(metadata, **changes):
    return geneval.GenEvalConfig(metadata=metadata, seed=1, resamples=100, device="cpu", **changes)


@pytest.fixture
def _scripted(monkeypatch):
    monkeypatch.setattr(Mask2Former, "load", lambda *_args, **_kwargs: ScriptedDetector())
    monkeypatch.setattr(
        "comat_core.scorers.zero_shot_colours.ColourClassifier.load", lambda *_args, **_kwargs: ScriptedColours()
    )


@pytest.mark.usefixtures("_scripted")
def test_verdicts_and_the_mean_of_the_tasks(store, inputs, metadata):
    artifact = evaluate(geneval, config_of(metadata), inputs, store)
    rows = {(row["model"], row["prompt_id"]): row for row in artifact.read_table("items.parquet").to_pylist()}
    assert {key: row["correct"] for key, row in rows.items()} == {
        ("base", "one"): True,
        ("base", "two"): False,  # the second dog is not sure enough to be counted
        ("base", "three"): False,
        ("base", "red"): True,
        ("base", "left"): True,
        ("tuned", "one"): False,
        ("tuned", "two"): False,  # three are too many
        ("tuned", "three"): True,
        ("tuned", "red"): False,
        ("tuned", "left"): False,
    }
    assert rows["base", "two"]["reasons"] == ["expected dog>=2, found 1"]
    assert rows["tuned", "two"]["reasons"] == ["expected dog<3, found 3"]
    assert rows["tuned", "red"]["reasons"] == ["expected red dog>=1, found blue"]
    assert rows["tuned", "left"]["reasons"] == ["expected cat>=1, found 0", "expected dog>=1, found 0"]
    assert [(box["class"], box["confidence"]) for box in rows["base", "left"]["detections"]] == [
        ("dog", 0.95),
        ("dog", 0.6),
        ("cat", 0.8),
    ]
    summary = artifact.read_json("summary.json")
    base, tuned = summary["models"]["base"], summary["models"]["tuned"]
    tasks = {"single_object": (1, 0), "counting": (0, 0.5), "colors": (1, 0), "position": (1, 0)}
    for task, (of_base, of_tuned) in tasks.items():
        assert (base[f"geneval/{task}"]["mean"], tuned[f"geneval/{task}"]["mean"]) == (of_base, of_tuned)
    assert base["geneval"]["mean"] == 3 / 4  # of the images it is 3 of 5
    assert tuned["geneval"]["mean"] == 1 / 8
    assert summary["delta"]["geneval"]["mean"] == -5 / 8
    assert base["geneval"]["n"] == 5
    assert tuned["geneval"]["low"] == 0.0  # the counting prompt that is wrong, drawn twice
    assert tuned["geneval"]["high"] == 0.25
    assert "not comparable with published scores" in summary["protocol"]


@pytest.mark.usefixtures("_scripted")
def test_the_threshold_for_counting_is_a_setting(store, inputs, metadata):
    config = config_of(metadata, detector=ClassDetectorSettings(counting_threshold=0.5))
    rows = evaluate(geneval, config, inputs, store).read_table("items.parquet").to_pylist()
    assert {row["prompt_id"] for row in rows if row["model"] == "base" and row["correct"]} == {
        "one",
        "two",
        "red",
        "left",
    }


@pytest.mark.usefixtures("_scripted")
def test_rows_with_one_prompt_go_to_the_images_of_that_prompt_one_by_one(store, tmp_path):
    path = tmp_path / "metadata.jsonl"
    rows = [
        {"tag": "one", "include": [DOG], "prompt": "a photo of a dog"},
        {"tag": "two", "include": [{"class": "dog", "count": 2}], "prompt": "a photo of a dog"},
    ]
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    prompts = [(key, "a photo of a dog", "dogs", "geneval") for key in ("first", "second")] + PROMPTS[-1:]
    colours = {"first": RED, "second": RED, "strange": RED}
    inputs = make_inputs(store, prompts, colours, {**colours, "second": GREY})
    artifact = evaluate(geneval, config_of(QuestionFile(file=str(path))), inputs, store)
    found = {(row["model"], row["prompt_id"]): row for row in artifact.read_table("items.parquet").to_pylist()}
    assert {key: (row["tag"], row["correct"]) for key, row in found.items()} == {
        ("base", "first"): ("one", True),
        ("base", "second"): ("two", True),
        ("tuned", "first"): ("one", True),
        ("tuned", "second"): ("two", False),
    }
    protocol = artifact.read_json("summary.json")["protocol"]
    assert protocol.endswith("; 1 of 3 prompts have no questions and so no score")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tag": 5}, "'tag' has to be text"),
        ({"include": "dog"}, "'include' and 'exclude' have to be lists"),
        ({"include": [1]}, "a clause is no object"),
        ({"include": [{**DOG, "count": 1.5}]}, "'count' has to be a whole number"),
        ({"include": [{**DOG, "count": 0}]}, "'count' has to be a whole number, at least 1"),
        ({"include": [{**DOG, "class": ["dog"]}]}, "'class' has to be text"),
        ({"include": [{**DOG, "color": "rde"}]}, "'color' has to be one of red, orange"),
        ({"include": [CAT, {**DOG, "position": "left of"}]}, "'position' has to be one of left of, right of"),
        ({"include": [CAT, {**DOG, "position": ["left of", "0"]}]}, "'position' has to end with the number"),
        ({"prompt": 7}, "'prompt' is a number instead of text"),
    ],
)
def test_wrong_types_in_metadata_are_told_with_their_line(tmp_path, changes, message):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (METADATA[0], {**METADATA[0], **changes})))
    with pytest.raises(UserError, match=f"{message}.*line 2"):
        config_of(QuestionFile(file=str(path))).fetch_files()


def test_it_runs_with_mask2former_and_clip(store, inputs, metadata, tmp_path):
    folder = save_tiny_mask2former(tmp_path / "mask2former", ["dog", "cat", "tree"])
    clip = save_tiny_clip(tmp_path / "clip")
    settings = ClassDetectorSettings(
        network=Mask2Former(threshold=0.01, input_side=64),
        checkpoint=ModelReference(path=folder),
        counting_threshold=0.02,
    )
    config = config_of(metadata, detector=settings, clip=ModelReference(path=clip), batch_size=3)
    artifact = evaluate(geneval, config, inputs, store)
    rows = {(row["model"], row["prompt_id"]): row for row in artifact.read_table("items.parquet").to_pylist()}
    assert len(rows) == 10
    from comat_core.detectors.mask2former import Mask2FormerObjects

    detector = Mask2FormerObjects.load(folder, threshold=0.01, input_side=64)
    for (name, key), colour in {("base", "left"): 0, ("tuned", "three"): 2}.items():
        image = torch.zeros(1, 3, 16, 16)
        image[:, colour] = 1
        asked = ["cat", "dog"] if key == "left" else ["dog"]
        found = [box for box in detector.detect_objects(image, [asked])[0] if key == "left" or box.confidence > 0.02]
        assert found, "the test means nothing without objects"
        got = rows[name, key]["detections"]
        expected = sorted((box.label, box.confidence) for box in found)
        assert [(box["class"], pytest.approx(box["confidence"], abs=1e-4)) for box in got] == sorted(
            expected, key=lambda one: ([box.label for box in found].index(one[0]), -one[1])
        )
    summary = artifact.read_json("summary.json")
    shares = [share["mean"] for name, share in summary["models"]["tuned"].items() if name != "geneval"]
    assert summary["models"]["tuned"]["geneval"]["mean"] == pytest.approx(sum(shares) / 4)


def test_mistakes_are_told(store, inputs, tmp_path):
    def run(*rows):
        path = tmp_path / "bad.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        evaluate(geneval, config_of(QuestionFile(file=str(path))), inputs, store)

    with pytest.raises(UserError, match="malformed metadata of the prompt 'a photo of a dog': 'count'"):
        run({"tag": "x", "include": [{"class": "dog"}], "prompt": "a photo of a dog"})
    with pytest.raises(UserError, match="lacks 'include'"):
        run({"tag": "x", "prompt": "a photo of a dog"})
    with pytest.raises(UserError, match="no prompt of the run stands in the file"):
        run({"tag": "x", "include": [], "prompt": "another prompt"})
    with pytest.raises(ValueError, match=r"network\.grounding_dino\.text_encoder\n +Field required"):
        ClassDetectorSettings.model_validate({"network": {"kind": "grounding_dino"}})
