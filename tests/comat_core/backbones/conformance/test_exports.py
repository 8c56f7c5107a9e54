"""Every family: kohya's file adds to the original release's layers what the adapter adds to diffusers'."""

import pytest
import torch

from comat_core.backbones.adapters import add_lora
from comat_core.backbones.lora.kohya import PREFIX, kohya_lora
from comat_core.backbones.lora.lora_metadata import describe_lora
from comat_core.support.errors import UserError
from tests.comat_core.backbones.conformance.family_case import FamilyCase, randomise

RANK = 2
UNKNOWN_TO_KOHYA = ("flux2", "pixart", "sana")


def test_what_a_kohya_file_adds_is_what_the_adapter_adds(case: FamilyCase) -> None:
    """Fused layers are cut up again by an independent rule: equal shares of the rows, in the order q, k, v."""
    model = case.model
    randomise(add_lora(model, "tuned", rank=RANK, seed=1))
    if case.kind.startswith(UNKNOWN_TO_KOHYA):
        with pytest.raises(UserError, match=r"kohya's tools have no names for the layers of a .*Pipeline"):
            kohya_lora(model, "tuned")
        return
    file = kohya_lora(model, "tuned")
    adapted = {
        name: module for name, module in model.denoiser.named_modules() if "tuned" in getattr(module, "lora_A", {})
    }
    assert len({key.split(".")[0] for key in file}) <= len(adapted)
    for name, module in adapted.items():
        down, up = module.lora_A["tuned"].weight, module.lora_B["tuned"].weight  # pyright: ignore[reportIndexIssue]
        original = model.original_layer(name)
        key = PREFIX + original.name
        scale = float(file[f"{key}.alpha"]) / file[f"{key}.lora_down.weight"].shape[0]
        added = scale * file[f"{key}.lora_up.weight"] @ file[f"{key}.lora_down.weight"]
        rows = added.shape[0] // original.shares
        part = added[original.first_share * rows : (original.first_share + 1) * rows]
        torch.testing.assert_close(part, up.detach() @ down.detach())


def test_every_adapted_layer_has_a_place_of_its_own(case: FamilyCase) -> None:
    model = case.model
    if case.kind.startswith(UNKNOWN_TO_KOHYA):
        return
    add_lora(model, "tuned", rank=RANK, seed=1)
    names = [name for name, module in model.denoiser.named_modules() if "tuned" in getattr(module, "lora_A", {})]
    places = [model.original_layer(name) for name in names]
    assert len({(place.name, place.first_share) for place in places}) == len(names)
    assert not any("." in place.name for place in places)


def test_the_header_can_be_written(case: FamilyCase) -> None:
    add_lora(case.model, "tuned", rank=RANK, seed=1)
    notes = describe_lora(case.model, "tuned", base="org/name", resolution=32, title="A LoRA")
    assert notes["modelspec.prediction_type"] in {"epsilon", "v", "flow"}
    assert f"{case.model.denoiser_part}.r" in notes["lora_adapter_metadata"]
