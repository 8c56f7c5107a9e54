"""What is special about SANA: prompts behind an instruction, masked padding, no posterior, a flow told as betas."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.backbones.attention_maps import captured_attention
from comat_core.backbones.checkpoints.pipeline_index import check_backbone, check_index
from comat_core.backbones.loading import load_backbone, wrap_pipeline
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.changed_checkpoints import change_json, copy_of
from tests.comat_core.stock_sampling import PROMPTS
from tests.tiny_models import IMAGE_SIDE
from tests.tiny_sana import save_tiny_sana, save_tiny_sana15


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sana(tmp_path_factory.mktemp("sana") / "sana")


@pytest.fixture(scope="module")
def model(folder: Path) -> Backbone:
    return load_backbone(folder)


def columns_of(model: Backbone, prompt: str, word: str) -> tuple[int, ...]:
    start = prompt.index(word)
    ((aligned,),) = model.text_layout().align_prompts([prompt], [[(start, start + len(word))]])
    return aligned.tokens


@pytest.mark.parametrize("word", ["striped", "a", "square"])
def test_a_words_columns_are_the_hidden_states_of_its_tokens(word: str, model: Backbone) -> None:
    """The first of them, "a", shares its token with the space that the instruction ends with."""
    prompt = "A red circle and a striped blue square".replace("A", "a", 1)
    read: list[tuple[Any, Tensor]] = []
    handle = model.pipeline.text_encoder.register_forward_hook(
        lambda _module, inputs, output: read.append((inputs[0][0].tolist(), output[0][0]))
    )
    embeds = model.encode_prompts([prompt], IMAGE_SIDE)["prompt_embeds"][0]
    handle.remove()
    ids, hidden = read[0]
    assert embeds.shape[0] == 300
    columns = columns_of(model, prompt, word)
    positions = [int((hidden == embeds[column]).all(dim=-1).nonzero()) for column in columns]
    spelt = model.pipeline.tokenizer.decode([ids[position] for position in positions])
    assert spelt.strip() == word
    assert min(columns) >= 1, "the first column is the start token's"
    assert (columns[0] == 1) == (word == "a")


def test_padding_gets_no_attention(model: Backbone) -> None:
    conditioning = model.encode_prompts(PROMPTS, IMAGE_SIDE)
    latents = torch.randn(2, 4, 8, 8, generator=make_generator(1, "latents"))
    layers = model.attention_layers(("*",))
    with torch.no_grad(), captured_attention(model.attention_probe, layers, (0, 1), (8, 8)) as maps:
        model.predict(latents, torch.tensor(500.0), conditioning)
    real = conditioning["prompt_mask"].bool()
    assert 2 < real[1].sum() < real[0].sum() < 60
    for layer in maps.values():
        for row, of_row in zip(layer, real, strict=True):
            assert not row[..., ~of_row].any()
            assert (row[..., of_row] > 0).all()


def test_images_have_one_latent_whatever_the_generators(model: Backbone) -> None:
    images = torch.rand(2, 3, IMAGE_SIDE, IMAGE_SIDE, generator=make_generator(1, "images"))
    generators = [make_generator(1, "row", row) for row in range(2)]
    before = [generator.get_state() for generator in generators]
    latents = model.encode_images(images, generators)
    assert torch.equal(latents, model.encode_images(images, generators[::-1]))
    assert all(torch.equal(state, g.get_state()) for state, g in zip(before, generators, strict=True))
    with torch.no_grad():
        own = model.vae.encode(images * 2 - 1).latent
    torch.testing.assert_close(latents, own * 0.41407)


def test_both_kinds_of_schedulers_mean_the_same_noise_levels(model: Backbone, tmp_path: Path) -> None:
    other = load_backbone(save_tiny_sana15(tmp_path / "sana15"))
    assert type(model.scheduler) is not type(other.scheduler)
    assert model.prediction_type == other.prediction_type == "flow"
    ours, theirs = (some.make_scheduler("flow-euler", IMAGE_SIDE) for some in (model, other))
    torch.testing.assert_close(ours.timesteps(5), theirs.timesteps(5))
    assert ours.timesteps(3)[1] == pytest.approx(750, abs=2), "shifted by 3 from 500"
    with pytest.raises(UserError, match=r"ddpm cannot take over .* its network predicts 'flow_prediction'"):
        model.make_scheduler("ddpm", IMAGE_SIDE)


def test_a_solver_of_betas_is_refused_before_any_network_is_read(folder: Path, tmp_path: Path) -> None:
    changed = copy_of(folder, tmp_path / "betas")
    change_json(changed / "scheduler/scheduler_config.json", use_flow_sigmas=False, prediction_type="epsilon")
    with pytest.raises(UserError, match="its scheduler is a DPMSolverMultistepScheduler of betas, whose noise levels"):
        load_backbone(changed)


def test_distilled_ones_are_refused(model: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    index = check_index({"_class_name": "SanaSprintPipeline"}, "base")
    with pytest.raises(UserError, match="is a SanaSprintPipeline, which is distilled to draw in a few steps"):
        check_backbone(index, "base")
    config = {**model.denoiser.config, "guidance_embeds": True}
    monkeypatch.setattr(model.denoiser, "_internal_dict", type(model.denoiser.config)(config))
    with pytest.raises(UserError, match="the transformer has its guidance distilled in"):
        wrap_pipeline(model.pipeline)
