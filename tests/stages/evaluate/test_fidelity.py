"""Fidelity by several extractors on made-up images, whose distances can be worked out by hand."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from comat_core.support.errors import UserError
from stages.evaluate import fidelity
from stages.evaluate.fidelity import FidelityConfig
from stages.evaluate.scoring.images import feature_extractors
from stages.evaluate.scoring.images.feature_extractors import (
    AnyFeatures,
    Extractor,
    Inception,
    JudgeFeatures,
    Patches,
    PatchMean,
    extract,
)
from stages.evaluate.scoring.images.fidelity_summary import headline_extractor
from stages.evaluate.scoring.images.independence import training_model
from stages.evaluate.scoring.images.real_images import RealImages
from stages.plan.config import ModelReference
from stages.plan.presets import load_preset
from stages.store.store import Store
from tests.stages.evaluate.evaluations import evaluate, score_key, scores_of
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.stages.fake_run import flat_png, make_artifact

PROMPTS = [
    ("t0", "a red circle", "colour", "test"),
    *[(f"f{index}", "a circle", "fidelity", "fidelity") for index in range(4)],
]
JUDGE, DINO = ModelReference(path="org/judge"), ModelReference(path="org/dino")
EXTRACTORS: dict[str, AnyFeatures] = {
    "judge": JudgeFeatures(),
    "dino": PatchMean(model=DINO),
    "dino_patches": Patches(model=DINO),
}


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """A judge that sees the mean colour, and a DINO that sees each quarter's; gives the networks that ran, in order."""
    ran = []

    def judge(images):
        ran.append("judge")
        return images.float().mean(dim=(2, 3)) / 255

    def dino(images):
        ran.append("dino")
        quarters = torch.nn.functional.avg_pool2d(images.float() / 255, images.shape[-1] // 2)
        return quarters.flatten(2).transpose(1, 2)

    monkeypatch.setattr(feature_extractors, "_pooled", lambda *_: judge)
    monkeypatch.setattr(feature_extractors, "_patch_tokens", lambda *_: dino)
    return ran


@pytest.fixture
def real(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    for index, colour in enumerate([RED, RED, BLUE, RED, RED, RED]):
        (folder / f"{index}.png").write_bytes(flat_png(colour, side=40))
    return RealImages(folder=ModelReference(path=str(folder)), count=4)


@pytest.fixture
def inputs(store):
    base = dict(zip(["t0", "f0", "f1", "f2", "f3"], [RED, RED, BLUE, GREY, RED], strict=True))
    made = make_inputs(store, PROMPTS, base, dict.fromkeys(base, RED))
    return {**made, "train": make_artifact(store, "train", config={"captioner": {"path": "x"}})}


def config_of(real, **changes):
    settings = {"judge": JUDGE, "extractors": EXTRACTORS, "neighbours": 1, "resolution": 16, "seed": 1}
    return FidelityConfig(real=real, **{**settings, "resamples": 100, "device": "cpu", **changes})


def distance(first, second):
    """Of two sets of colours, where the second has no spread or the same one along every axis: diagonal covariances."""
    first, second = np.array(first) / 255, np.array(second) / 255
    offset = first.mean(axis=0) - second.mean(axis=0)
    roots = np.linalg.eigvals(np.cov(first, rowvar=False) @ np.cov(second, rowvar=False)).real.clip(min=0)
    spread = first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum() - 2 * np.sqrt(roots).sum()
    return offset @ offset + spread


def test_every_extractor_has_a_distance_a_ratio_and_a_scale(store, inputs, real):
    artifact = evaluate(fidelity, config_of(real), inputs, store)
    summary = artifact.read_json("summary.json")
    names = {f"frechet_distance/{name}" for name in EXTRACTORS}
    others = {"density/dino", "coverage/dino"}
    ratios = {f"frechet_distance_ratio/{name}" for name in EXTRACTORS}
    for model in ("base", "tuned"):
        assert set(summary["models"][model]) == names | others
    assert set(summary["real_to_real"]) == names | others
    assert set(summary["delta"]) == names | others | ratios
    reds_and_blue = [RED, RED, BLUE, RED]
    for name in ("judge", "dino"):
        base, tuned = (summary["models"][model][f"frechet_distance/{name}"] for model in ("base", "tuned"))
        assert base["mean"] == pytest.approx(distance([RED, BLUE, GREY, RED], reds_and_blue), rel=1e-4)
        assert tuned["mean"] == pytest.approx(distance([RED] * 4, reds_and_blue), rel=1e-4)
        assert base["n"] == 4
        assert base["low"] <= base["mean"] <= base["high"]
        ratio = summary["delta"][f"frechet_distance_ratio/{name}"]["mean"]
        assert ratio == pytest.approx(tuned["mean"] / base["mean"])
        assert summary["delta"][f"frechet_distance/{name}"]["mean"] == pytest.approx(tuned["mean"] - base["mean"])
        # Every second real image: red and blue against red and red.
        halves = summary["real_to_real"][f"frechet_distance/{name}"]
        assert halves["mean"] == pytest.approx(distance([RED, BLUE], [RED, RED]), rel=1e-4)
    # Four equal quarters of each image: as far as the images, but for the covariance's divisor, 15 instead of 3.
    patches = summary["models"]["tuned"]["frechet_distance/dino_patches"]["mean"]
    assert patches == pytest.approx(distance([RED] * 16, reds_and_blue * 4), rel=1e-4)


def test_the_headline_is_the_first_independent_extractor(store, inputs, real):
    summary = evaluate(fidelity, config_of(real), inputs, store).read_json("summary.json")
    assert summary["headline"] == "frechet_distance/dino"
    facts = summary["extractors"]
    assert {name: one["independent"] for name, one in facts.items()} == {
        "dino": True,
        "dino_patches": True,
        "judge": False,
    }
    assert facts["dino"]["features"] == "mean of the patch tokens of org/dino"
    assert "dino_patches: patch tokens of org/dino; judge: pooled features of the judge" in summary["protocol"]


def test_a_network_that_training_looks_at_is_not_called_independent(store, inputs, real):
    settings = {"discriminator": {"kind": "dinov2", "model": DINO.model_dump()}}
    inputs["train"] = make_artifact(store, "train", key="against-dino", config=settings)
    summary = evaluate(fidelity, config_of(real), inputs, store).read_json("summary.json")
    assert not any(one["independent"] for one in summary["extractors"].values())
    assert summary["extractors"]["dino"]["seen_by"] == "discriminator.model"
    assert "training looks at this network (train.discriminator.model)" in summary["extractors"]["dino"]["remark"]
    assert summary["headline"] == "frechet_distance/dino"  # no better one is there: the judge is blind besides
    other = {**EXTRACTORS, "other": PatchMean(model=ModelReference(path="org/other"))}
    summary = evaluate(fidelity, config_of(real, extractors=other), inputs, store).read_json("summary.json")
    assert summary["headline"] == "frechet_distance/other"


def test_the_judge_is_known_by_its_files_under_whatever_name(store, inputs, real):
    disguised: dict[str, AnyFeatures] = {"a": PatchMean(model=JUDGE), "b": PatchMean(model=DINO)}
    summary = evaluate(fidelity, config_of(real, extractors=disguised), inputs, store).read_json("summary.json")
    assert summary["extractors"]["a"]["is_judge"]
    assert summary["headline"] == "frechet_distance/b"


def test_a_copy_of_the_discriminators_network_is_recognised(store, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    here, there = (ModelReference(path=str(tmp_path / name)) for name in ("here", "there"))
    train = make_artifact(store, "train", config={"discriminator": {"model": there.model_dump()}, "steps": 3})
    assert training_model(here, train) == "discriminator.model"
    (tmp_path / "there" / "config.json").write_text('{"other": 1}')
    assert training_model(here, train) is None
    assert training_model(ModelReference(path="org/unknown"), train) is None
    # It lay on the machine that trained.
    gone = make_artifact(store, "train", key="elsewhere", config={"m": {**there.model_dump(), "path": "/gone/model"}})
    assert training_model(here, gone) is None


def test_headlines_prefer_what_is_independent_then_what_is_not_the_judge():
    def facts(independent, is_judge):
        return {"independent": independent, "is_judge": is_judge}

    assert headline_extractor({"a": facts(False, False), "b": facts(False, True), "z": facts(True, False)}) == "z"
    assert headline_extractor({"a": facts(False, True), "b": facts(False, False)}) == "b"
    assert headline_extractor({"judge": facts(False, True)}) == "judge"


def test_items_hold_the_features_of_each_image_by_each_extractor(store, inputs, real):
    scores = scores_of(fidelity, config_of(real), inputs, store)
    rows = {
        (model, row["prompt_id"], row["extractor"]): (row["count"], row["features"])
        for model in ("base", "tuned")
        for row in scores[model].read_table("items").to_pylist()
    }
    assert len(rows) == 2 * 4 * 3  # the test split's images are left out
    blue = [0.0, 0.0, 1.0]
    assert rows["base", "f1", "dino"] == (1, pytest.approx(blue))
    assert rows["base", "f1", "dino_patches"] == (4, pytest.approx(blue * 4))
    of_real = scores["real"].read_table("items").to_pylist()
    assert {(row["extractor"], row["count"]) for row in of_real} == {("dino", 1), ("judge", 1), ("dino_patches", 4)}
    assert len(of_real) == 3 * 4


def test_a_network_that_two_extractors_read_runs_once_per_batch(store, inputs, real, networks):
    evaluate(fidelity, config_of(real, batch_size=100), inputs, store)
    assert networks == ["judge", "dino"] * 3  # once for the images of each model, once for the real ones


def test_patches_are_taken_evenly_up_to_the_number_asked_for():
    tokens = torch.arange(16).view(1, 16, 1)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)

    def taken(per_image):
        patches = Patches(model=DINO, per_image=per_image).load("cpu")
        (items,) = extract([Extractor(lambda _: tokens, patches.items)], images)
        return items.flatten().tolist()

    assert taken(4) == [0, 4, 8, 12]
    assert taken(64) == list(range(16))


def test_a_further_generator_is_compared_too(store, inputs, real):
    blue = dict.fromkeys(["t0", "f0", "f1", "f2", "f3"], BLUE)
    other = make_inputs(store, PROMPTS, blue, {}, names=("other.blue",))["other.blue"]
    models = evaluate(fidelity, config_of(real), {**inputs, "other.blue": other}, store).read_json("summary.json")[
        "models"
    ]
    assert models["blue"]["frechet_distance/dino"]["mean"] > models["base"]["frechet_distance/dino"]["mean"]
    assert models["blue"]["coverage/dino"]["mean"] == 0.25  # the one blue image of the first four


def test_settings_that_cannot_be_measured_are_told_before_the_run(real):
    with pytest.raises(ValidationError, match=r"judge needs models\.judge"):
        config_of(real, judge=None)
    with pytest.raises(ValidationError, match=r"real\.count must be at least 8 with 3 neighbours"):
        config_of(real, neighbours=3)
    with pytest.raises(ValidationError, match="at least 1 item"):
        config_of(real, extractors={})
    with pytest.raises(ValidationError, match="model"):
        config_of(real, extractors={"x": {"kind": "patches"}})
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        config_of(real, extractors={"x": {"kind": "vgg"}})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (1, "1 image of each model is too few for a distance"),
        (2, "2 images of each model are too few for 2 neighbours"),
    ],
)
def test_too_few_images_are_the_users_mistake(store, inputs, real, images, message):
    prompts = PROMPTS[1 : images + 1]
    colours = {row[0]: RED for row in prompts}
    few = make_inputs(Store(f"{store.url}-few"), prompts, colours, colours)
    config = config_of(real.model_copy(update={"count": 6}), neighbours=2)
    with pytest.raises(UserError, match=message):
        evaluate(fidelity, config, {**inputs, **few}, store)


def test_extractors_are_data_of_a_preset():
    settings = [
        "evaluate.fidelity.extractors.inception={kind: inception, antialias: true}",
        "evaluate.fidelity.extractors.clip={kind: pooled, model: org/clip}",
        "evaluate.fidelity.extractors.dino_patches.per_image=16",
    ]
    config = load_preset("miniature", settings).sections["evaluate.fidelity"]
    assert isinstance(config, FidelityConfig)
    assert config.extractors["judge"].checkpoint() == config.judge == ModelReference(path="data://miniature/judge")
    inception, patches = config.extractors["inception"], config.extractors["dino_patches"]
    assert isinstance(inception, Inception)
    assert inception.published_file() is not None
    assert (inception.antialias, inception.checkpoint()) == (True, None)
    assert isinstance(patches, Patches)
    assert patches.per_image == 16


def test_the_published_weights_are_fetched_before_the_run(real, monkeypatch):
    fetched = []
    monkeypatch.setattr("data.downloading.downloads.PublishedFile.fetch", lambda self: fetched.append(self.name))
    config_of(real).fetch_files()
    assert fetched == []
    config_of(real, extractors={"inception": Inception()}).fetch_files()
    assert fetched == ["weights-inception-2015-12-05-6726825d.pth"]


def test_the_key_knows_the_extractors_but_no_order_of_theirs(inputs, real):
    def key(**changes):
        return score_key(fidelity, config_of(real, **changes), inputs)

    assert key() == key(extractors=dict(reversed(EXTRACTORS.items()))) == key(batch_size=3)
    assert key() != key(extractors={"dino": EXTRACTORS["dino"]})


def test_settings_of_the_comparison_extract_no_features_again(inputs, real):
    def keys(**changes):
        config = config_of(**{"real": real, **changes})
        return score_key(fidelity, config, inputs), fidelity.REAL_SCORES.key(config, {})

    generated, of_real = keys()
    for change in ({"resamples": 200}, {"neighbours": 2, "real": real.model_copy(update={"count": 6})}, {"seed": 2}):
        assert keys(**change)[0] == generated
        assert fidelity.STAGE.payload_of(config_of(**{"real": real, **change})) != fidelity.STAGE.payload_of(
            config_of(real)
        )
    assert keys(resamples=200, seed=2)[1] == of_real  # a folder's images do not depend on the seed
    assert keys(real=RealImages(count=6), seed=1)[1] != keys(real=RealImages(count=6), seed=2)[1]
    assert keys(resolution=32)[1] != of_real
