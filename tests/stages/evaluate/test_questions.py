"""TIFA, DPG-Bench and DSG end to end: constructed answers worked out by hand, then the miniature world's own model."""

import csv
import json
import random
from statistics import fmean

import pytest

from comat_core.support.errors import UserError
from data.miniature_world.drawing import draw_scene
from data.miniature_world.scenes import balanced_scene
from stages.evaluate import dpg, dsg, geneval, tifa
from stages.evaluate.scoring.images.generated_images import MODELS
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.evaluate.scoring.questions.question_scores import QUESTION_COLUMNS
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.stages.evaluate.question_rows import COLUMNS, ROWS, settings
from tests.stages.fake_run import flat_png, images_table, make_artifact, png_of, prompts_table

PROMPTS = {"p": "a red  circle", "q": "a blue square"}


class ScriptedAnswerer:
    """Sees a circle in images that are not grey; says what is red or blue, and that there is one of anything."""

    def answer(self, images, questions, image_of_question=None):
        assert image_of_question is not None
        answers = []
        for index, question in zip(image_of_question, questions, strict=True):
            red, blue = bool(images[index, 0].mean() == 1), bool(images[index, 2].mean() == 1)
            said = {"is there a circle?": red or blue, "is the circle red?": red, "is it blue?": blue}
            answers.append("yes" if said.get(question, True) else "no")
        return answers


@pytest.fixture
def _scripted(monkeypatch):
    monkeypatch.setattr(
        "comat_core.scorers.visual_question_answering.VisualQuestionAnswerer.load",
        lambda *_args, **_kwargs: ScriptedAnswerer(),
    )


def inputs_of(store, benchmark):
    prompts = [(key, text, "dense", benchmark) for key, text in PROMPTS.items()]
    return make_inputs(store, prompts, {"p": GREY, "q": BLUE}, {"p": BLUE, "q": RED}, samples=2)


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return QuestionFile(file=str(path))


def means(artifact, name):
    models = artifact.read_json("summary.json")["models"]
    return {model: pytest.approx(scores[name]["mean"]) for model, scores in models.items()}


@pytest.mark.usefixtures("_scripted")
def test_dsg_counts_a_question_whose_parent_is_right(store, questions):
    artifact = evaluate(dsg, dsg.DsgConfig(**settings(questions)), inputs_of(store, "dsg"), store)
    # p, grey: no, no, yes (its parent is no): 0. p, blue: yes, no, yes (parent no): 1/3.
    # q, blue: yes, yes: 1. q, red: no, yes (parent no): 0.
    assert means(artifact, "dsg") == {"base": (0 + 1) / 2, "tuned": (1 / 3 + 0) / 2}
    assert means(artifact, "dsg/entity - whole") == {"base": 0.5, "tuned": 0.5}
    assert artifact.read_table("items.parquet").num_rows == 2 * 2 * 5
    assert artifact.read_table("items.parquet").column_names == ["model", *(name for name, _ in QUESTION_COLUMNS)]


@pytest.mark.usefixtures("_scripted")
def test_dpg_cascades(store, questions):
    artifact = evaluate(dpg, dpg.DpgConfig(**settings(questions)), inputs_of(store, "dpg"), store)
    assert means(artifact, "dpg") == {"base": 0.5, "tuned": pytest.approx(1 / 6)}
    assert means(artifact, "dpg/attribute - color") == {"base": 0.5, "tuned": 0.0}


@pytest.mark.usefixtures("_scripted")
def test_official_dpg_loses_the_first_row_and_with_it_its_prompt(store, questions):
    artifact = evaluate(dpg, dpg.DpgConfig(**settings(questions, mode="official")), inputs_of(store, "dpg"), store)
    assert means(artifact, "dpg") == {"base": 1.0, "tuned": 0.0}
    # Categories take the last image's answers as given: "is there one?" is answered yes.
    assert means(artifact, "dpg/attribute - color") == {"base": 1.0, "tuned": 1.0}
    assert set(artifact.read_table("items.parquet")["prompt_id"].to_pylist()) == {"q"}


@pytest.mark.usefixtures("_scripted")
def test_official_dpg_categories_are_of_the_last_image_wherever_the_shards_are_cut(store, questions):
    def inputs(*parts):
        tables = {
            f"images/{index:05d}.parquet": images_table(
                [("q", "dpg", sample, flat_png(BLUE if sample == 0 else RED)) for sample in samples]
            )
            for index, samples in enumerate(parts)
        }
        prompts = prompts_table([("q", PROMPTS["q"], "dense", "dpg")])
        images = {name: make_artifact(store, "images", key=f"{name}{len(parts)}", tables=tables) for name in MODELS}
        return {"prompts": make_artifact(store, "prompts", tables={"prompts.parquet": prompts}), **images}

    config = dpg.DpgConfig(**settings(questions, mode="official"))
    whole, split = (evaluate(dpg, config, inputs(*parts), store) for parts in ([range(3)], [range(2), [2]]))
    for artifact in (whole, split):
        assert means(artifact, "dpg") == dict.fromkeys(MODELS, 1 / 3)
        # The last image is red, and its square is not blue. The first one's "yes" does not count.
        assert means(artifact, "dpg/entity - whole") == dict.fromkeys(MODELS, 0.0)


@pytest.mark.usefixtures("_scripted")
def test_tifa_weighs_captions_alike_and_pools_types(store, tmp_path, monkeypatch):
    path = tmp_path / "tifa.json"
    asked = [
        ("a red circle", "is there a circle?", ["yes", "no"], "yes", "shape"),
        ("a red circle", "is the circle red?", ["yes", "no"], "yes", "color"),
        ("a red circle", "how many?", ["one", "two"], "one", "counting"),
        ("a blue square", "is it blue?", ["yes", "no"], "yes", "color"),
    ]
    path.write_text(json.dumps([dict(zip(tifa.FIELDS, row, strict=True)) for row in asked]))
    monkeypatch.setattr(
        "comat_core.scorers.sentence_similarity.SentenceSimilarity.load",
        lambda *_args, **_kwargs: lambda _answer, choices: [float(choice == "one") for choice in choices],
    )
    config = tifa.TifaConfig(**settings(QuestionFile(file=str(path))))
    artifact = evaluate(tifa, config, inputs_of(store, "tifa"), store)
    # "yes" is no number; the encoder calls "one" the nearest. p: grey 1/3, blue 2/3. q: blue 1, red 0.
    assert means(artifact, "tifa") == {"base": (1 / 3 + 1) / 2, "tuned": (2 / 3 + 0) / 2}
    assert means(artifact, "tifa/color") == {"base": 0.5, "tuned": 0.0}
    assert artifact.read_json("summary.json")["models"]["base"]["tifa"]["n"] == 2


def test_mistakes_in_question_files_are_told(store, tmp_path, questions):
    inputs = inputs_of(store, "dsg")
    path = tmp_path / "bad.csv"
    path.write_text("text,item_id\na,1\n")
    with pytest.raises(UserError, match="lacks 'proposition_id'"):
        evaluate(dsg, dsg.DsgConfig(**settings(QuestionFile(file=str(path)))), inputs, store)
    with pytest.raises(UserError, match="does not exist"):
        evaluate(dsg, dsg.DsgConfig(**settings(QuestionFile(file=str(tmp_path / "none.csv")))), inputs, store)
    strangers = make_inputs(store, [("x", "a cat", "dense", "dsg")], {"x": RED}, {"x": RED}, names=("a", "b"))
    renamed = {"prompts": strangers["prompts"], "base": strangers["a"], "tuned": strangers["b"]}
    with pytest.raises(UserError, match="no prompt of the run stands in the file"):
        evaluate(dsg, dsg.DsgConfig(**settings(questions)), renamed, store)


REPEATED = [("p", "a red circle"), ("r", "a red circle"), ("q", "a blue square")]


def repeated_inputs(store, benchmark):
    """Two prompts with one text, whose images differ: grey of the first, blue of the second."""
    prompts = [(key, text, "dense", benchmark) for key, text in REPEATED]
    return make_inputs(store, prompts, {"p": GREY, "r": BLUE, "q": BLUE}, {"p": BLUE, "r": GREY, "q": BLUE})


def official_tifa(rows, answers):
    """The authors' mean: over captions by their ids, of the mean over each one's questions."""
    scores = {}
    for row in rows:
        scores.setdefault(row["id"], []).append(float(answers[row["id"], row["question"]] == row["answer"]))
    return fmean(map(fmean, scores.values()))


@pytest.mark.usefixtures("_scripted")
def test_tifa_scores_captions_with_one_text_by_their_own_questions(store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "comat_core.scorers.sentence_similarity.SentenceSimilarity.load", lambda *_args, **_kwargs: None
    )
    asked = [
        ("coco_1", "a red circle", "is there a circle?"),
        ("coco_1", "a red circle", "is there one?"),
        ("coco_2", "a  red circle", "is there a circle?"),
        ("coco_3", "a blue square", "is it blue?"),
        ("coco_2", "a  red circle", "is the circle red?"),
    ]
    rows = [
        {
            "id": one,
            "caption": text,
            "question": question,
            "choices": ["yes", "no"],
            "answer": "yes",
            "element_type": "x",
        }
        for one, text, question in asked
    ]
    path = tmp_path / "tifa.json"
    path.write_text(json.dumps(rows))
    artifact = evaluate(
        tifa, tifa.TifaConfig(**settings(QuestionFile(file=str(path)))), repeated_inputs(store, "tifa"), store
    )
    # Grey: no circle, but one of it. Blue: a circle that is not red. The square is blue.
    base = {
        ("coco_1", "is there a circle?"): "no",
        ("coco_1", "is there one?"): "yes",
        ("coco_2", "is there a circle?"): "yes",
        ("coco_2", "is the circle red?"): "no",
        ("coco_3", "is it blue?"): "yes",
    }
    tuned = {**base, ("coco_1", "is there a circle?"): "yes", ("coco_2", "is there a circle?"): "no"}
    assert means(artifact, "tifa") == {"base": official_tifa(rows, base), "tuned": official_tifa(rows, tuned)}
    assert artifact.read_json("summary.json")["models"]["base"]["tifa"]["n"] == 3


@pytest.mark.usefixtures("_scripted")
@pytest.mark.parametrize("ids", [("7", "8"), ("", "")])
def test_dsg_scores_items_with_one_text_by_their_own_answers(store, tmp_path, ids):
    path = tmp_path / "dsg.csv"
    first, second = ids
    rows = [
        (first, "a red circle", "1", "0", "entity - whole (circle)", "is there a circle?"),
        (first, "a red circle", "2", "1", "other - count (circle)", "is there one?"),
        (second, "a red circle", "1", "0", "entity - whole (circle)", "is there one?"),
        ("9", "a blue square", "1", "0", "entity - whole (square)", "is it blue?"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    config = dsg.DsgConfig(**settings(QuestionFile(file=str(path))))
    artifact = evaluate(dsg, config, repeated_inputs(store, "dsg"), store)
    # The first item on a grey image: no circle, and so no count: 0; on a blue one: 1. The second always: 1.
    assert means(artifact, "dsg") == {"base": (0 + 1 + 1) / 3, "tuned": 1.0}
    assert artifact.read_json("summary.json")["models"]["base"]["dsg"]["n"] == 3


@pytest.mark.usefixtures("_scripted")
def test_a_question_that_stands_twice_counts_once_in_the_official_mode(store, tmp_path):
    path = tmp_path / "dsg.csv"
    with path.open("w", newline="") as file:
        twice = ("1", "a red circle", "1", "0", "entity - whole (circle)", "is the circle red?")
        csv.writer(file).writerows([COLUMNS, ROWS[0], twice, *ROWS[3:]])
    config = dsg.DsgConfig(**settings(QuestionFile(file=str(path)), mode="official"))
    items = evaluate(dsg, config, inputs_of(store, "dsg"), store).read_table("items.parquet").to_pylist()
    assert {row["question"] for row in items if row["prompt_id"] == "p"} == {"is the circle red?"}


@pytest.mark.usefixtures("_scripted")
def test_prompts_without_questions_are_told_in_the_protocol(store, tmp_path, caplog):
    path = tmp_path / "dsg.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS[3:]])
    config, inputs = dsg.DsgConfig(**settings(QuestionFile(file=str(path)))), inputs_of(store, "dsg")
    summary = evaluate(dsg, config, inputs, store).read_json("summary.json")
    assert summary["protocol"].endswith("; 1 of 2 prompts have no questions and so no score")
    assert summary["models"]["base"]["dsg"]["n"] == 1
    with caplog.at_level("WARNING", "comat"):
        config.check_prompts(inputs["prompts"])
    assert "evaluate.dsg: 1 of 2 prompts have no questions" in caplog.text
    assert "such as 'a red  circle'" in caplog.text


def test_dsg_runs_with_the_miniature_answering_model(store, tmp_path):
    """Questions are made from scenes; the tuned model draws them, the base another scene."""
    source = random.Random(3)
    rows, prompts, base, tuned = [], [], [], []
    for index in range(6):
        scene, other = balanced_scene(source), balanced_scene(source)
        item = scene.objects[0]
        text = f"scene {index}"
        prompts.append((f"m{index}", text, "dense", "dsg"))
        rows.append((str(index), text, "1", "0", "entity - whole (x)", f"a {item.shape}?"))
        rows.append((str(index), text, "2", "1", "attribute - color (x)", f"a {item.colour} {item.shape}?"))
        base.append((f"m{index}", "dsg", 0, png_of(draw_scene(other))))
        tuned.append((f"m{index}", "dsg", 0, png_of(draw_scene(scene))))
    path = tmp_path / "mini.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    inputs = {
        "prompts": make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(prompts)}),
        "base": make_artifact(store, "images", key="b", tables={"images/00000.parquet": images_table(base)}),
        "tuned": make_artifact(store, "images", key="t", tables={"images/00000.parquet": images_table(tuned)}),
    }
    vqa = ModelReference(path="data://miniature/vqa")
    artifact = evaluate(dsg, dsg.DsgConfig(**settings(QuestionFile(file=str(path)), vqa=vqa)), inputs, store)
    models = artifact.read_json("summary.json")["models"]
    assert models["tuned"]["dsg"]["mean"] > models["base"]["dsg"]["mean"] + 0.2


@pytest.mark.parametrize(
    ("kind", "field", "source"),
    [
        (tifa.TifaConfig, "questions", "tifa/question_answers"),
        (dpg.DpgConfig, "questions", "dpg_bench/questions"),
        (dsg.DsgConfig, "questions", "dsg/prompts"),
        (geneval.GenEvalConfig, "metadata", "geneval/prompts"),
    ],
)
def test_a_local_folder_alone_means_the_published_file(tmp_path, kind, field, source):
    settings = {"vqa": "org/vqa"} if field == "questions" else {}
    config = kind.model_validate({**settings, "seed": 1, field: {"local_dir": str(tmp_path)}})
    assert getattr(config, field) == QuestionFile(source=source, local_dir=str(tmp_path))
    with pytest.raises(UserError, match="is missing"):
        config.fetch_files()
    other = kind.model_validate({**settings, "seed": 1, field: {"file": "mine.csv"}})
    assert getattr(other, field) == QuestionFile(file="mine.csv")
