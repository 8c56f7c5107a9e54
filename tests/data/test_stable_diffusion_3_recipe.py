"""The recipe of the miniature Stable Diffusion 3: what it trains, and that it makes a checkpoint of the real format."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline

import data
from comat_core.backbones.loading import load_backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from data.miniature_world.build import build
from data.miniature_world.captions import base_world_captions
from data.miniature_world.datasets import make_scene
from data.miniature_world.recipes import stable_diffusion_3 as recipe
from data.miniature_world.recipes.diffusion import TOLD_FULLY
from data.miniature_world.recipes.tokenizers import build_t5_tokenizer
from data.miniature_world.seeds import SEEDS
from data.miniature_world.vocabulary import COLOURS, SHAPES

AUTOENCODER = Path(data.__file__).parent / "miniature" / "base" / "vae"
SEED = SEEDS["sd3"]
MEGABYTES = 12
PROMPT = "a striped purple heart to the left of an orange star"


def autoencoder() -> Any:
    return AutoencoderKL.from_pretrained(AUTOENCODER).eval()


@pytest.fixture(scope="module")
def built() -> Any:
    return recipe.build_flow_pipeline(autoencoder(), SEED)


@pytest.fixture
def untrained(built: Any) -> Any:
    """A pipeline of random weights that a test may change."""
    kind: Any = StableDiffusion3Pipeline
    return kind(**{name: deepcopy(part) for name, part in built.components.items()})


@pytest.fixture(scope="module")
def trained() -> Any:
    """The pipeline after two steps of each phase."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "SCENES", 8)
        patch.setattr(recipe, "PHASES", tuple(replace(phase, steps=2, batch_size=3) for phase in recipe.PHASES))
        return recipe.train_flow_pipeline(autoencoder(), SEED)


@pytest.fixture(scope="module")
def folder(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "sd3"
    trained.save_pretrained(path)
    return path


def losses_of(pipeline: Any, patch: pytest.MonkeyPatch, latents: torch.Tensor, captions: list[list[str]]) -> Any:
    """The function that a phase has fitted, from step to loss, without fitting it."""
    heard: list[Any] = []
    patch.setattr(recipe, "fit", lambda _, loss_of_step, **settings: heard.append((loss_of_step, settings)))
    phase = replace(recipe.PHASES[0], batch_size=len(latents))
    recipe.train_flow_phase(phase, pipeline, latents, captions, SEED)
    return heard[0][0]


def test_the_untrained_network_predicts_nothing_and_pays_for_the_whole_velocity(
    untrained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = torch.full((64, 4, 16, 16), 3.0)
    loss = losses_of(untrained, monkeypatch, latents, [["a red circle"]] * 64)(0)
    assert loss.item() == pytest.approx(1 + 3.0**2, rel=0.02)  # of noise - x_0, whatever the noise level


def test_what_it_is_asked_for_is_the_noise_less_the_latents(untrained: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    class Knowing(torch.nn.Module):
        """Knows that all latents are one, and takes the velocity from what it is shown."""

        device = torch.device("cpu")

        def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor, **_: Any) -> Any:
            sigma = (timestep / 1000).view(-1, 1, 1, 1)
            noise = (hidden_states - (1 - sigma)) / sigma
            return type("Output", (), {"sample": noise - 1})

    untrained.transformer = Knowing()
    loss = losses_of(untrained, monkeypatch, torch.ones(6, 4, 16, 16), [["a red circle"]] * 6)(1)
    assert loss.item() < 1e-6


def test_all_text_encoders_learn_with_the_transformer(untrained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        for parameter in untrained.transformer.parameters():
            if not parameter.any():  # the gates, which let nothing through at first
                parameter.fill_(0.05)
    losses_of(untrained, monkeypatch, torch.randn(6, 4, 16, 16), [[PROMPT]] * 6)(0).backward()
    for part in recipe.TRAINED_PARTS:
        gradients = [parameter.grad for parameter in getattr(untrained, part).parameters()]
        assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > 0.9 * len(gradients)


def test_training_moves_each_part_and_leaves_the_autoencoder(trained: Any, untrained: Any) -> None:
    for part in (*recipe.TRAINED_PARTS, "vae"):
        before, after = getattr(untrained, part).state_dict(), getattr(trained, part).state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before) == (part == "vae"), part


def test_some_captions_are_dropped_for_the_empty_prompt() -> None:
    drawn = recipe._draw_captions([["one", "two"]] * 2000, make_generator(SEED, "captions"))
    assert set(drawn) == {"", "one", "two"}
    assert drawn.count("") / len(drawn) == pytest.approx(recipe.DROPPED_CAPTION_SHARE, abs=0.03)
    assert drawn.count("one") / len(drawn) == pytest.approx(0.45, abs=0.05)


def test_it_is_saved_as_the_stock_pipeline_reads_it(folder: Path) -> None:
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 2, "max_sequence_length": recipe.PROMPT_LENGTH, "output_type": "pt"}
    image = pipeline(PROMPT, height=64, width=64, generator=make_generator(0, "stock"), **settings).images[0]
    assert image.shape == (3, 64, 64)
    assert torch.isfinite(image).all()


def test_each_word_stands_once_in_both_parts_of_the_text(folder: Path) -> None:
    backbone = load_backbone(folder)
    start = PROMPT.index("heart")
    ((aligned,),) = backbone.text_layout().align_prompts([PROMPT], [[(start, start + len("heart"))]])
    assert aligned.tokens == (1 + PROMPT.split().index("heart"), recipe.PROMPT_LENGTH + PROMPT.split().index("heart"))
    assert not aligned.cut_off


def test_its_weights_are_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) < MEGABYTES * 1e6


def test_the_longest_captions_fit(trained: Any) -> None:
    scenes = [make_scene("base world", SEED, index) for index in range(500)]
    captions = [text for texts in base_world_captions(scenes, SEED, TOLD_FULLY, 4) for text in texts]
    for tokenizer in (trained.tokenizer, trained.tokenizer_2, trained.tokenizer_3):
        assert max(len(ids) for ids in tokenizer(captions).input_ids) <= recipe.PROMPT_LENGTH


def test_t5_reads_the_worlds_words_whole_and_spells_others() -> None:
    tokenizer = build_t5_tokenizer(SEED, recipe.PROMPT_LENGTH)
    for word in (*COLOURS, *SHAPES):
        assert tokenizer.tokenize(word) == [f"\u2581{word}"]
    assert tokenizer.tokenize("redder") == ["\u2581red", "d", "e", "r"]
    assert "<unk>" not in tokenizer.tokenize("Sphinx of black quartz, judge my 12 vows!")


def test_it_wants_the_base_models_autoencoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no base model"):
        build(tmp_path, ["sd3"])
