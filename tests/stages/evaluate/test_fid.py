"""FID and CLIPScore on made-up images: distances worked out by hand, and the library end to end."""

import hashlib
from unittest.mock import patch

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchmetrics.image.fid import FrechetInceptionDistance
from transformers import Dinov2Config, Dinov2Model

from comat_core.metrics.distances.fid import library_distance
from comat_core.metrics.distances.frechet import frechet_distance, summarise
from comat_core.scorers.clip_score import ClipScorer
from comat_core.scorers.image_features import PooledFeatures, load_inception
from comat_core.support.errors import UserError
from stages.evaluate import fid
from stages.evaluate.fid import ExtractorSettings
from stages.evaluate.scoring.images import feature_extractors
from stages.evaluate.scoring.images.feature_extractors import Inception
from stages.evaluate.scoring.images.real_images import RealImages
from stages.plan.config import ModelReference
from tests.stages.evaluate.evaluations import evaluate, score_key, scores_of
from tests.stages.evaluate.made_up_images import BLUE, GREY, RED, make_inputs
from tests.stages.fake_run import flat_png
from tests.tiny_clip import save_tiny_clip

PROMPTS = [
    ("t0", "a red circle", "colour", "test"),
    *[(f"f{index}", text, "caption", "fidelity") for index, text in enumerate(["a circle", "a square", "a star"])],
]


@pytest.fixture
def inputs(store):
    base = {"t0": RED, "f0": RED, "f1": BLUE, "f2": GREY}
    return make_inputs(store, PROMPTS, base, dict.fromkeys(base, RED))


@pytest.fixture
def real(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    for index, colour in enumerate([RED, RED, BLUE]):
        (folder / f"{index}.png").write_bytes(flat_png(colour, side=40))
    return RealImages(folder=ModelReference(path=str(folder)), count=2)


def fid_config(real, **changes):
    return fid.FidConfig(real=real, **{"resolution": 16, "seed": 1, "device": "cpu", "clip": None, **changes})


@pytest.fixture
def _mean_colours(monkeypatch):
    """An "Inception" whose features are an image's mean colour."""
    monkeypatch.setattr(ExtractorSettings, "load", lambda *_: lambda images: images.float().mean(dim=(2, 3)) / 255)


@pytest.mark.usefixtures("_mean_colours")
def test_fid_of_a_run_with_its_number_of_images_in_the_protocol(store, inputs, real):
    config = fid_config(real)
    artifact = evaluate(fid, config, inputs, store)
    summary = artifact.read_json("summary.json")
    assert summary["models"]["tuned"]["fid"]["mean"] == pytest.approx(0.0, abs=1e-9)  # all red, as the real ones are
    # Base: mean distance squared plus the trace of the covariance, for the real images have none.
    colours = np.array([RED, BLUE, GREY]) / 255
    expected = ((colours.mean(axis=0) - [1, 0, 0]) ** 2).sum() + colours.var(axis=0, ddof=1).sum()
    assert summary["models"]["base"]["fid"]["mean"] == pytest.approx(expected, rel=1e-5)
    assert summary["delta"]["fid"]["mean"] == pytest.approx(-expected, rel=1e-5)
    assert "fid_ratio" in summary["delta"]
    assert "FID at N = 3, not comparable with another N, by torchmetrics" in summary["protocol"]
    assert "TensorFlow's bilinear resizing to 299 px; against 2 real images" in summary["protocol"]
    scores = scores_of(fid, config, inputs, store)
    assert scores["base"].read_table("items").num_rows == 3  # the test split's images are left out


def test_only_inception_at_10000_images_is_called_fid_10k():
    other = ExtractorSettings(kind="transformers", model=ModelReference(path="org/dinov2"))
    real = RealImages(count=40_504)
    assert fid.describe(fid_config(real), 10_000).startswith("FID-10K, by torchmetrics ")
    assert "antialiased" in fid.describe(fid_config(real, extractor=ExtractorSettings(antialias=True)), 10_000)
    described = fid.describe(fid_config(real, extractor=other), 10_000)
    assert described.startswith("Frechet distance at N = 10,000, not comparable")
    assert "pooled features of org/dinov2; against 40,504" in described


def test_a_transformers_model_and_clip_score_over_the_same_images(store, inputs, real, tmp_path):
    clip = ModelReference(path=save_tiny_clip(tmp_path / "clip"))
    config = fid_config(real, clip=clip, extractor=ExtractorSettings(kind="transformers", model=clip))
    artifact, scores = evaluate(fid, config, inputs, store), scores_of(fid, config, inputs, store)
    rows = {row["prompt_id"]: row for row in scores["base"].read_table("items").to_pylist()}
    red = torch.tensor(RED, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    features = PooledFeatures.load(clip.path)(red)
    np.testing.assert_allclose(rows["f0"]["features"], features[0], rtol=1e-4, atol=1e-5)
    score = ClipScorer.load(clip.path).score(red / 255, ["a circle"]).item()
    assert rows["f0"]["clip_score"] == pytest.approx(score, abs=1e-6)
    summary = artifact.read_json("summary.json")
    assert set(summary["models"]["base"]) == {"frechet_distance", "clip_score"}
    base = [row["features"] for _, row in sorted(rows.items())]
    reals = scores["real"].read_table("items")["features"].to_pylist()
    ours = frechet_distance(summarise(base), summarise(reals))
    assert summary["models"]["base"]["frechet_distance"]["mean"] == pytest.approx(ours, rel=1e-3)


def test_a_further_generator_is_compared_too(store, inputs, real, monkeypatch):
    monkeypatch.setattr(ExtractorSettings, "load", lambda *_: lambda images: images.float().mean(dim=(2, 3)) / 255)
    blue = dict.fromkeys(["t0", "f0", "f1", "f2"], BLUE)
    other = make_inputs(store, PROMPTS, blue, {}, names=("other.blue",))["other.blue"]
    models = evaluate(fid, fid_config(real), {**inputs, "other.blue": other}, store).read_json("summary.json")["models"]
    assert models["blue"]["fid"]["mean"] == pytest.approx(2.0)  # red to blue


def test_our_distance_agrees_with_the_librarys():
    source = np.random.default_rng(3)
    first = source.normal(size=(300, 24)) @ source.normal(size=(24, 24)) + 1
    second = source.normal(size=(200, 24)) @ source.normal(size=(24, 24))
    ours = frechet_distance(summarise(second), summarise(first))
    assert library_distance(first, second) == pytest.approx(ours, rel=1e-3)


def test_the_key_holds_the_files_and_the_weights_digest_but_no_path(inputs, real, tmp_path):
    def key(**changes):
        return score_key(fid, fid_config(changes.pop("real", real), **changes), inputs)

    own = {"weights": tmp_path / "w.pth"}
    assert key() == key(extractor=ExtractorSettings(**own)) == key(batch_size=3)
    assert key() != key(extractor=ExtractorSettings(**own, sha256="0" * 64))
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "real").rename(elsewhere)
    moved = RealImages(folder=ModelReference(path=str(elsewhere)), count=2)
    before = fid.REAL_SCORES.key(fid_config(moved), {})
    assert fid.REAL_SCORES.key(fid_config(moved, resamples=200, seed=2), {}) == before
    (elsewhere / "0.png").write_bytes(flat_png(BLUE, side=41))
    assert fid.REAL_SCORES.key(fid_config(moved), {}) != before


def test_extractors_are_told_apart():
    with pytest.raises(ValidationError, match="model belongs to the extractor transformers"):
        ExtractorSettings(model=ModelReference(path="org/model"))
    with pytest.raises(ValidationError, match="name their file"):
        ExtractorSettings(sha256="0" * 64)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """A file of the published layout with random weights, and its digest."""
    from torch_fidelity import feature_extractor_inceptionv3 as library

    network_class = library.FeatureExtractorInceptionV3
    with patch.object(library, "load_state_dict_from_url"), patch.object(network_class, "load_state_dict"):
        network = network_class("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() == 4:  # torch's own initial weights let the signal die out
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), file)
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def test_inception_is_the_librarys_own(inception_file):
    file, digest = inception_file
    images = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    extract = load_inception(file, sha256=digest)
    features = extract(images)
    library = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(file), antialias=False).inception
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features, library(images))
    one_of_fidelitys = Inception(weights=file, sha256=digest).load("cpu")
    (items,) = feature_extractors.extract([one_of_fidelitys], images)
    torch.testing.assert_close(items, features[:, None])
    antialiased = load_inception(file, sha256=digest, antialias=True)(images)
    assert not torch.allclose(features, antialiased, rtol=1e-3)


def test_other_files_than_the_weights_are_refused(inception_file, tmp_path):
    file, _ = inception_file
    with pytest.raises(UserError, match=r"sha256 .* instead of 6726825d0af5"):
        load_inception(file)
    with pytest.raises(UserError, match="there are no Inception weights"):
        load_inception(tmp_path / "absent.pth")
    other, code = tmp_path / "other.pth", tmp_path / "code.pth"
    torch.save({"weight": torch.zeros(1)}, other)
    torch.save({"weight": tmp_path}, code)  # a pickled object that is no tensor
    with pytest.raises(UserError, match="does not hold Inception's weights"):
        load_inception(other, sha256=hashlib.sha256(other.read_bytes()).hexdigest())
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        load_inception(code, sha256=hashlib.sha256(code.read_bytes()).hexdigest())


def test_a_folder_without_model_or_image_processor_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no image model"):
        PooledFeatures.load(str(tmp_path))
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8)
    Dinov2Model(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="the model has no image processor"):
        PooledFeatures.load(str(tmp_path))
