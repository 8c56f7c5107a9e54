"""The recipe of the miniature base model: the stretch in which its attention alone is led astray."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

import data
from comat_core.support.randomness import make_generator
from data.miniature_world.recipes import diffusion as recipe

SEED = 3
FOLDER = Path(data.__file__).parent / "miniature"


def trained(phase: recipe.Phase) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """The model after two steps of a phase, and before."""
    tokenizer = recipe.build_clip_tokenizer(SEED, recipe.PROMPT_LENGTH)
    model = nn.ModuleDict({"text_encoder": recipe._text_encoder(tokenizer, SEED), "unet": recipe._unet(SEED)})
    with torch.no_grad():  # the untrained one predicts nothing, whatever it looks at
        cast("nn.Conv2d", model["unet"].get_submodule("conv_out")).weight.fill_(0.1)
    before = deepcopy(model)
    latents = torch.randn(6, 4, recipe.LATENT_SIZE, recipe.LATENT_SIZE, generator=make_generator(SEED, "latents"))
    words = ["a red circle", "a blue square above a green star"] * 12
    captions = tokenizer(words, padding="max_length", max_length=recipe.PROMPT_LENGTH, return_tensors="pt").input_ids
    empty = tokenizer("", padding="max_length", max_length=recipe.PROMPT_LENGTH, return_tensors="pt").input_ids[0]
    few = replace(phase, steps=2, batch_size=4, average_decay=0.5, learning_rate=0.05)
    recipe.train_phase(few, model, latents, captions.view(6, recipe.CAPTIONS_PER_SCENE, -1), empty, SEED)
    return model, before


@pytest.mark.parametrize(("number", "everything"), [(-1, False), (-2, True)])
def test_only_the_last_stretch_leaves_all_but_queries_and_keys_of_cross_attention_alone(
    number: int, everything: bool
) -> None:
    model, before = trained(recipe.PHASES[number])
    now, then = model.state_dict(), before.state_dict()
    assert list(now) == list(then)
    changed = {name for name in now if not torch.equal(now[name], then[name])}
    looking = {name for name in now if any(f"{layer}.weight" in name for layer in recipe.LOOKING)}
    assert changed > looking if everything else changed == looking
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_the_last_stretch_changes_has_its_rank() -> None:
    phase = replace(recipe.PHASES[-1], attention_rank=2)
    model, before = trained(phase)
    name = next(name for name in model.state_dict() if name.endswith("attn2.to_q.weight"))
    change = model.state_dict()[name] - before.state_dict()[name]
    assert torch.linalg.matrix_rank(change, atol=1e-5) == 2


def test_a_stretch_is_trained_on_as_many_scenes_of_each_of_its_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def remember(
        phase: recipe.Phase, _model: object, latents: torch.Tensor, captions: torch.Tensor, *_: object
    ) -> None:
        seen[phase.name] = (latents, captions)

    monkeypatch.setattr(recipe, "SCENES", 3)
    monkeypatch.setattr(recipe, "train_phase", remember)
    one, both = recipe.PHASES[0], next(phase for phase in recipe.PHASES if len(phase.worlds) == 2)
    monkeypatch.setattr(recipe, "PHASES", (one, both))
    pipeline = recipe.train_pipeline(AutoencoderKL.from_pretrained(FOLDER / "base" / "vae").eval(), SEED)
    assert pipeline.scheduler.config["prediction_type"] == both.prediction_type
    (latents, captions), (of_both, captions_of_both) = seen[one.name], seen[both.name]
    assert len(latents) == len(captions) == 3
    assert len(of_both) == len(captions_of_both) == 6
    torch.testing.assert_close(of_both[:3], latents)
    assert not any(torch.equal(row, latent) for row in of_both[3:] for latent in latents)
