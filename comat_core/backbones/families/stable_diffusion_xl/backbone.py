"""SDXL as a backbone."""

import re
from collections.abc import Sequence
from typing import Final

from torch import Tensor

from comat_core.backbones.families.stable_diffusion.backbone import StableDiffusion
from comat_core.backbones.families.stable_diffusion_xl import FAMILIES
from comat_core.backbones.lora.original_layers import OriginalLayer
from comat_core.backbones.text.conditioning import Conditioning

_DOWN: Final = re.compile(r"down_blocks_(\d+)_attentions_(\d+)")
_UP: Final = re.compile(r"up_blocks_(\d+)_attentions_(\d+)")


class StableDiffusionXL(StableDiffusion):
    """A UNet that is told a pooled vector of the prompt and the image's sizes beside the text."""

    family = FAMILIES["StableDiffusionXLPipeline"]

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Two text encoders, a pooled vector, and the image's sizes."""
        prompted, _, pooled, _ = self._stock_embeds(prompts, guided=False)
        return _with_sizes(prompted, pooled, resolution)

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        _, unconditional, _, pooled = self._stock_embeds([""], guided=True)
        return _with_sizes(unconditional, pooled, resolution)

    def _added_conditions(self, conditioning: Conditioning) -> dict[str, Tensor] | None:
        return {"text_embeds": conditioning["pooled_prompt_embeds"], "time_ids": conditioning["time_ids"]}

    def original_layer(self, layer: str) -> OriginalLayer:
        """Blocks had other names."""
        return OriginalLayer(original_block_name(layer.replace(".", "_"), self.denoiser.config.layers_per_block))


def _with_sizes(prompt_embeds: Tensor, pooled: Tensor, resolution: int) -> Conditioning:
    """Add the sizes of an uncropped image of the given resolution.

    "time_ids" are original height and width, top and left crop, target height and width, in pixels.
    """
    sizes = prompt_embeds.new_tensor([[resolution, resolution, 0, 0, resolution, resolution]])
    time_ids = sizes.repeat(len(prompt_embeds), 1)
    return Conditioning({"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled, "time_ids": time_ids})


def original_block_name(key: str, layers_per_block: int) -> str:
    """Number the layers of all blocks on, as the original release does.

    Each block's resampling layer counts; the attention is the second part of its layer. Down, the input convolution is
    number 0.

    Args:
        key: a layer's name in diffusers, joined by underscores.
    """
    per_block = layers_per_block + 1
    key = _DOWN.sub(lambda found: f"input_blocks_{1 + int(found[1]) * per_block + int(found[2])}_1", key)
    key = _UP.sub(lambda found: f"output_blocks_{int(found[1]) * per_block + int(found[2])}_1", key)
    return key.replace("mid_block_attentions_0", "middle_block_1")
