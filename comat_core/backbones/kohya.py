"""LoRA weights under the names of kohya's scripts, which ComfyUI and the web interfaces read too.

    diffusers   unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight
    kohya       lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight

For SDXL kohya's own UNet keeps the block names of the original release, "input_blocks_4_1" instead of
"down_blocks_1_attentions_0".
"""

from collections.abc import Mapping

import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft import get_peft_model_state_dict
from torch import Tensor

from comat_core.backbones.protocol import Backbone

PREFIX = "lora_unet_"


def kohya_lora(model: Backbone, name: str) -> dict[str, Tensor]:
    """Return an adapter's weights by kohya's names, with the alpha of every layer.

    Args:
        name: of the adapter on the model's denoiser.
    """
    config = model.denoiser.peft_config[name]
    weights: Mapping[str, Tensor] = get_peft_model_state_dict(model.denoiser, adapter_name=name)
    renamed = convert_state_dict_to_kohya({f"unet.{key}": tensor.detach().cpu() for key, tensor in weights.items()})
    alpha = torch.tensor(float(config.lora_alpha))
    tensors = {key: alpha.clone() if key.endswith(".alpha") else tensor for key, tensor in renamed.items()}
    return {model.name_in_original_release(key): tensor for key, tensor in tensors.items()}
