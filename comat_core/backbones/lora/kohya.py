"""LoRA weights under the names of kohya's scripts, which ComfyUI and the web interfaces read too.

    diffusers   unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight
    kohya       lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight

Those scripts keep the layers of a model's original release where that differs from diffusers: other names of SDXL's
blocks, one layer for queries, keys and values in transformers. LoRAs of layers that became one are put side by side:
their ranks add up, and each acts on its own rows alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from peft import get_peft_model_state_dict
from torch import Tensor

from comat_core.backbones.lora.original_layers import OriginalLayer
from comat_core.backbones.protocol import Backbone

PREFIX = "lora_unet_"
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def kohya_lora(model: Backbone, name: str) -> dict[str, Tensor]:
    """Return an adapter's weights by kohya's names, with the alpha of every layer.

    Args:
        name: of the adapter on the model's denoiser.
    """
    config = model.denoiser.peft_config[name]
    weights: Mapping[str, Tensor] = get_peft_model_state_dict(model.denoiser, adapter_name=name)
    groups: dict[str, list[tuple[OriginalLayer, Tensor, Tensor]]] = defaultdict(list)
    for key in weights:
        if key.endswith(_DOWN):
            layer = key.removesuffix(_DOWN)
            original = model.original_layer(layer)
            groups[original.name].append((original, weights[key].detach().cpu(), weights[layer + _UP].detach().cpu()))
    tensors: dict[str, Tensor] = {}
    for original_name, parts in groups.items():
        down, up = side_by_side(parts)
        key = PREFIX + original_name
        # Loaders scale by alpha / rank; the rank has grown with the number of layers that became one.
        alpha = torch.tensor(float(config.lora_alpha * len(down) / config.r))
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": alpha}
    return tensors


def side_by_side(parts: Sequence[tuple[OriginalLayer, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join the LoRAs of layers that stand in one layer of the original release.

    Args:
        parts: the place of each, its down projection (rank, inputs) and its up projection (outputs, rank).

    Returns:
        Down (sum of ranks, inputs) and up (all outputs, sum of ranks), whose product holds each part's in its rows.
    """
    if len(parts) == 1 and parts[0][0].shares == 1:
        return parts[0][1].contiguous(), parts[0][2].contiguous()
    outputs = parts[0][2].shape[0]
    up = torch.zeros(parts[0][0].shares * outputs, sum(part[1].shape[0] for part in parts))
    column = 0
    for place, down, own_up in parts:
        row = place.first_share * outputs
        up[row : row + outputs, column : column + len(down)] = own_up
        column += len(down)
    return torch.cat([down for _, down, _ in parts]), up
