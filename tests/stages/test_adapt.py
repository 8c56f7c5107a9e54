"""The warm-up at another resolution: the whole UNet learns, and the stages after it can load what it became."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comat_core.backbones.loading import load_backbone
from comat_core.support.errors import UserError
from stages import adapt, latents
from stages.plan.config import ModelReference
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.stages.fake_run import make_artifact, prompts_table

PROMPTS = [(f"p{index}", f"{index} red circles", "color", "train") for index in range(5)]
PROMPTS.append(("t0", "a green star", "color", "test"))


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    fixed = {
        "seed": 3,
        "resolution": 32,
        "base": ModelReference(path=str(folder)),
        "sampling": {"num_inference_steps": 2, "guidance_scale": 3.0},
        "batch_size": 2,
        "device": "cpu",
    }
    return fixed | changes


def config(folder: Path, **changes: Any) -> adapt.AdaptConfig:
    own = {"native_resolution": 64, "images": 4, "steps": 3, "training_batch_size": 2, "learning_rate": 1e-3}
    return adapt.AdaptConfig.model_validate(settings(folder, **(own | changes)))


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)})


def test_every_weight_moves_and_later_stages_use_the_new_unet(
    store: Store, prompts: Artifact, tiny_sdxl_folder: Path
) -> None:
    artifact = adapt.run(config(tiny_sdxl_folder), {"prompts": prompts}, store)
    before = load_backbone(tiny_sdxl_folder).denoiser
    with artifact.local_path("denoiser/") as folder:
        after = load_backbone(tiny_sdxl_folder, denoiser=folder).denoiser
    moved = {
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert moved == {name for name, _ in before.named_parameters()}

    sampling = latents.LatentsConfig.model_validate(settings(tiny_sdxl_folder))
    plain = latents.run(sampling, {"prompts": prompts}, store)
    adapted = latents.run(sampling, {"prompts": prompts, "adapt": artifact}, store)
    assert plain.key != adapted.key
    name = "latents/00000.safetensors"
    assert not torch.allclose(plain.read_tensors(name)["latents"], adapted.read_tensors(name)["latents"])


@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sdxl_folder"])
def test_a_dropped_prompt_becomes_what_guidance_leads_away_from(folder: str, request: pytest.FixtureRequest) -> None:
    model = load_backbone(request.getfixturevalue(folder))
    told, unconditional = model.encode_prompts(["red", "", "a star"], 32), model.encode_unconditional(1, 32)
    made = adapt._encode(model, ["red", None, "a star"], unconditional, 32)
    expected = [(told, 0), (unconditional, 0), (told, 2)]
    for name, rows in made.tensors.items():
        assert torch.equal(rows, torch.stack([source[name][row] for source, row in expected]))


def test_training_images_have_the_new_resolution_and_come_from_training_prompts(
    store: Store, prompts: Artifact, tiny_sdxl_folder: Path
) -> None:
    artifact = adapt.run(config(tiny_sdxl_folder, images=9), {"prompts": prompts}, store)
    stored = artifact.read_tensors("latents/00000.safetensors")["latents"]
    side = load_backbone(tiny_sdxl_folder).latent_size(32)
    assert stored.shape[0] == 5  # all training prompts, but not the held-out one
    assert stored.shape[-2:] == (side, side)
    assert artifact.read_table("metrics.parquet")["step"].to_pylist() == [1, 2, 3]


def test_loss_falls_when_the_same_images_are_learned_for_long(
    store: Store, prompts: Artifact, tiny_sd_folder: Path
) -> None:
    artifact = adapt.run(config(tiny_sd_folder, images=1, steps=60, learning_rate=3e-3), {"prompts": prompts}, store)
    losses = artifact.read_table("metrics.parquet")["loss"].to_pylist()
    assert sum(losses[-15:]) < 0.9 * sum(losses[:15])


def test_batch_size_of_sampling_changes_neither_key_nor_images(
    tmp_path: Path, prompts: Artifact, tiny_sd_folder: Path
) -> None:
    made = [
        adapt.run(config(tiny_sd_folder, batch_size=size), {"prompts": prompts}, Store(str(tmp_path / str(size))))
        for size in (1, 4)
    ]
    assert made[0].key == made[1].key
    first, second = (artifact.read_tensors("latents/00000.safetensors")["latents"] for artifact in made)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_killed_run_keeps_the_images_it_drew(
    store: Store, prompts: Artifact, tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adapt, "_train", killed)
        with pytest.raises(KeyboardInterrupt):
            adapt.run(config(tiny_sd_folder), {"prompts": prompts}, store)
    monkeypatch.setattr(adapt, "_resized_latents", killed)
    artifact = adapt.run(config(tiny_sd_folder), {"prompts": prompts}, store)
    assert "denoiser/diffusion_pytorch_model.safetensors" in artifact.files()


def test_no_training_prompt_is_told(store: Store, tiny_sd_folder: Path) -> None:
    prompts = make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS[-1:])})
    with pytest.raises(UserError, match="there is no training prompt"):
        adapt.run(config(tiny_sd_folder), {"prompts": prompts}, store)
