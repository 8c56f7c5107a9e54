import pytest
import torch

from comat_core.scorers.depth import DepthEstimator
from comat_core.support.errors import UserError
from tests.tiny_clip import save_tiny_clip
from tests.tiny_instance_models import save_tiny_dpt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dpt(tmp_path_factory.mktemp("dpt"))


def test_nearness_is_the_models_estimate_between_0_and_1(folder):
    estimator = DepthEstimator.load(folder)
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        estimated = estimator.model(pixel_values=estimator.preprocess(images)).predicted_depth
    side = estimated.shape[-1]
    nearness = estimator.nearness(images, side)
    assert nearness.shape == (2, side, side)
    for ours, theirs in zip(nearness, estimated, strict=True):
        assert (ours.min().item(), ours.max().item()) == (0.0, 1.0)
        assert torch.equal(ours.flatten().argsort(stable=True), (theirs - theirs.min()).flatten().argsort(stable=True))
    assert estimator.nearness(images, 100).shape == (2, 100, 100)


def test_a_flat_scene_has_no_depth(folder, monkeypatch):
    estimator = DepthEstimator.load(folder)

    class Flat:
        device, dtype = torch.device("cpu"), torch.float32

        def __call__(self, pixel_values):
            return type("Output", (), {"predicted_depth": torch.full((len(pixel_values), 8, 8), 5.0)})

    monkeypatch.setattr(estimator, "model", Flat())
    assert not estimator.nearness(torch.rand(1, 3, 16, 16), 12).any()


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="not a DPTForDepthEstimation"):
        DepthEstimator.load(save_tiny_clip(tmp_path / "clip"))
    bare = save_tiny_dpt(tmp_path / "dpt")
    (tmp_path / "dpt" / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="the model has no image processor"):
        DepthEstimator.load(bare)
