from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.attention.attention_probabilities import head_averaged_probabilities
from comat_core.backbones.attention_maps import (
    AttentionMaps,
    captured_attention,
    map_shape,
)
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.comat_core.stock_sampling import PROMPTS
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]


def unet_inputs(model: Backbone, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Conditioning]:
    latents = torch.randn(2, 4, height, width, generator=make_generator(1, "latents"))
    return latents, torch.tensor([500, 20]), model.encode_prompts(PROMPTS, IMAGE_SIDE)


def randomise_lora(model: Backbone, name: str) -> None:
    for parameter in add_lora(model, name, rank=2, seed=1):
        generator = make_generator(1, "trained lora", *parameter.shape)
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def projection_weight(module: nn.Module | None, adapter: str) -> Tensor:
    """The effective weight of a linear layer with a LoRA: W + B A."""
    assert module is not None
    parts = dict(module.named_parameters())
    return parts["base_layer.weight"] + parts[f"lora_B.{adapter}.weight"] @ parts[f"lora_A.{adapter}.weight"]


def input_recorder(seen: dict[str, Any], name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A hook that keeps a layer's first input under a name."""

    def record(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[name] = inputs[0]

    return record


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_maps_equal_those_computed_by_hand_from_queries_and_keys(kind: str, tiny_model: ModelOf) -> None:
    model = tiny_model(kind)
    randomise_lora(model, "online")
    latents, timesteps, conditioning = unet_inputs(model)
    layers = model.attention_layers()
    seen: dict[str, Any] = {}
    handles = [layer.register_forward_pre_hook(input_recorder(seen, name)) for name, layer in layers.items()]
    with (
        torch.no_grad(),
        active_adapter(model.denoiser, "online"),
        captured_attention(model.attention_probe, layers, [1], (8, 8)) as maps,
    ):
        model.predict(latents, timesteps, conditioning)
    for handle in handles:
        handle.remove()

    assert set(maps) == set(layers)
    blocks = [name.split("_")[0] for name in maps]
    assert blocks == sorted(blocks), "as the forward pass goes: the middle, then up"
    assert len(maps) == {"sd": 5, "sdxl": 8}[kind]
    for name, layer in layers.items():
        queries = seen[name][1] @ projection_weight(layer.to_q, "online").T
        keys = conditioning["prompt_embeds"][1] @ projection_weight(layer.to_k, "online").T
        size = queries.shape[-1] // layer.heads
        expected = torch.zeros(queries.shape[0], keys.shape[0])
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            scores = queries[:, part] @ keys[:, part].T / size**0.5
            exponentials = scores.exp()
            expected += exponentials / exponentials.sum(dim=1, keepdim=True) / layer.heads
        side = round(expected.shape[0] ** 0.5)
        assert maps[name].shape == (1, side, side, keys.shape[0])
        assert expected.std() > 1e-3, "uniform maps would prove nothing"
        torch.testing.assert_close(maps[name][0], expected.view(side, side, -1), atol=1e-5, rtol=1e-4)


def test_capturing_changes_neither_the_prediction_nor_the_processors(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    inputs = unet_inputs(model)
    attention = {name: module for name, module in model.denoiser.named_modules() if isinstance(module, Attention)}
    processors = {name: module.processor for name, module in attention.items()}
    layers = model.attention_layers()
    with torch.no_grad():
        plain = model.predict(*inputs)
        with captured_attention(model.attention_probe, layers, [0, 1], (8, 8)):
            captured = model.predict(*inputs)
            replaced = [
                name
                for name, processor in processors.items()
                if model.denoiser.get_submodule(name).processor is not processor
            ]
    assert torch.equal(plain, captured)
    assert replaced == list(layers), "self-attention and the down blocks stay as they are"
    assert all(model.denoiser.get_submodule(name).processor is processor for name, processor in processors.items())
    assert not any(module._forward_hooks for module in model.denoiser.modules())


def test_processors_and_hooks_are_gone_after_an_error_inside(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    layers = model.attention_layers(("up_blocks.*",))
    processors = [layer.processor for layer in layers.values()]
    first = next(iter(layers.values()))
    assert first.to_v is not None
    handle = first.to_v.register_forward_pre_hook(lambda _m, _a: (_ for _ in ()).throw(RuntimeError("interrupted")))
    with (
        pytest.raises(RuntimeError, match="interrupted"),
        torch.no_grad(),
        captured_attention(model.attention_probe, layers, [0], (8, 8)),
    ):
        model.predict(*unet_inputs(model))
    handle.remove()
    assert [layer.processor for layer in layers.values()] == processors
    assert not any(module._forward_hooks for module in model.denoiser.modules())


def test_a_pattern_that_matches_no_layer_is_an_error(tiny_model: ModelOf) -> None:
    with pytest.raises(UserError, match=r"no attention layer of the UNet is named side_blocks.* like down_blocks"):
        tiny_model("sd").attention_layers(("side_blocks.*",))


def test_only_cross_attention_of_the_chosen_blocks_is_found(tiny_model: ModelOf) -> None:
    layers = tiny_model("sd").attention_layers(("down_blocks.*",))
    assert [name.split(".")[0] for name in layers] == ["down_blocks", "down_blocks"]
    assert all(name.endswith("attn2") for name in layers)


def test_maps_of_oblong_latents_keep_their_sides(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    with (
        torch.no_grad(),
        captured_attention(model.attention_probe, model.attention_layers(("mid_block.*",)), [0], (4, 16)) as maps,
    ):
        model.predict(*unet_inputs(model, 4, 16))
    assert next(iter(maps.values())).shape[1:3] == (2, 8)
    assert map_shape((5, 9), 15) == (3, 5)


def test_half_precision_queries_give_full_precision_maps() -> None:
    generator = make_generator(1, "queries")
    queries, keys = torch.randn(1, 2, 6, 4, generator=generator), torch.randn(1, 2, 3, 4, generator=generator)
    maps = head_averaged_probabilities(queries.half(), keys.half())
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, head_averaged_probabilities(queries, keys), atol=2e-3, rtol=0)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(1, 6))


def test_autocast_does_not_lower_the_maps_precision() -> None:
    generator = make_generator(1, "queries")
    queries, keys = 8 * torch.randn(1, 2, 6, 4, generator=generator), 8 * torch.randn(1, 2, 3, 4, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        maps = head_averaged_probabilities(queries, keys)
    assert torch.equal(maps, head_averaged_probabilities(queries, keys))


def test_maps_can_be_grouped_by_size_and_cut_to_rows() -> None:
    layers = {"up.a": torch.rand(2, 4, 4, 3), "mid.b": torch.rand(2, 2, 2, 3), "up.c": torch.rand(2, 4, 4, 3)}
    maps = AttentionMaps(step=1, layers=layers)
    groups = maps.by_resolution()
    assert list(groups) == [(2, 2), (4, 4)]
    assert torch.equal(torch.stack(groups[(4, 4)]), torch.stack([layers["up.a"], layers["up.c"]]))
    assert torch.equal(maps.select([1])["mid.b"], layers["mid.b"][1:])
