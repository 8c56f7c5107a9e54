"""LoRA weights under the names of kohya's scripts, which ComfyUI and the web interfaces read too.

    diffusers   unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight
    kohya       lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight

For SDXL kohya's own UNet keeps the block names of the original release, "input_blocks_4_1" instead of
"down_blocks_1_attentions_0".
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft import get_peft_model_state_dict
from torch import Tensor

from comat_core.backbones.text_to_image import TextToImageModel

PREFIX = "lora_unet_"
_DOWN, _UP = re.compile(r"down_blocks_(\d+)_attentions_(\d+)"), re.compile(r"up_blocks_(\d+)_attentions_(\d+)")


def kohya_lora(model: TextToImageModel, name: str) -> dict[str, Tensor]:
    """Return an adapter's weights by kohya's names, with the alpha of every layer.

    Args:
        name: of the adapter on the model's UNet.
    """
    config = model.unet.peft_config[name]
    weights: Mapping[str, Tensor] = get_peft_model_state_dict(model.unet, adapter_name=name)
    renamed = convert_state_dict_to_kohya({f"unet.{key}": tensor.detach().cpu() for key, tensor in weights.items()})
    alpha = torch.tensor(float(config.lora_alpha))
    tensors = {key: alpha.clone() if key.endswith(".alpha") else tensor for key, tensor in renamed.items()}
    if not model.backbone.original_block_names:
        return tensors
    return {original_block_name(key, model.unet.config): tensor for key, tensor in tensors.items()}


def original_block_name(key: str, unet_config: Any) -> str:
    """Give a key the block names of the original release.

    That release numbers the layers of all blocks on, each block's resampling layer included; the attention is the
    second part of its layer. Down, the input convolution is number 0.
    """
    per_block = unet_config.layers_per_block + 1
    key = _DOWN.sub(lambda found: f"input_blocks_{1 + int(found[1]) * per_block + int(found[2])}_1", key)
    key = _UP.sub(lambda found: f"output_blocks_{int(found[1]) * per_block + int(found[2])}_1", key)
    return key.replace("mid_block_attentions_0", "middle_block_1")
