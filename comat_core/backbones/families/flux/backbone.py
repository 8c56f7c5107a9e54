"""FLUX.1 as a backbone."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor
from torch.nn import functional

from comat_core.backbones.attention.joint_projections import JOINT_PROJECTIONS, original_ends
from comat_core.backbones.attention.rotated_attention import (
    PUBLISHED_DOUBLE_BLOCKS,
    RotatedAttentionProbe,
    localising_blocks,
)
from comat_core.backbones.families.flux import FAMILIES
from comat_core.backbones.lora.original_layers import QKV, OriginalLayer, renamed
from comat_core.backbones.packing import SIDE_OF_SQUARES, image_positions, pack, unpack
from comat_core.backbones.protocol import Backbone, Guidance
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import stream_length
from comat_core.sampling.schedulers import FlowWalk
from comat_core.support.errors import UserError

LATENTS_PER_POSITION: Final = SIDE_OF_SQUARES**2
"""Of each channel, in one position of the sequence."""
MLP_RATIO: Final = 4
"""Width of a single block's MLP over that of its stream."""
_DOUBLE_ENDS: Final = original_ends("img_attn", "txt_attn")
_SINGLE_ENDS: Final = tuple((f"attn.to_{part}", "linear1", part) for part in QKV)
NO_GUIDANCE: Final = 1.0
"""The scale at which a denoiser with embedded guidance predicts what it would without any."""


class Flux(Backbone):
    """A transformer on packed latents, joint with T5's tokens, told CLIP's vector of the prompt beside."""

    family = FAMILIES["FluxPipeline"]
    adapter_targets = JOINT_PROJECTIONS
    attention_layers_source = "ConceptAttention (2025), which measured FLUX.1 dev"
    attention_probe = RotatedAttentionProbe(FluxAttention, latents_per_position=LATENTS_PER_POSITION)
    flow_walk = FlowWalk(down_to_one_step=True)

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline.

        Raises:
            UserError: its transformer takes more than latents.
        """
        super().__init__(pipeline, source)
        if self.denoiser.config.in_channels != LATENTS_PER_POSITION * self.latent_channels:
            raise UserError("the transformer takes more than latents", source, "use a plain text-to-image checkpoint")

    @property
    def guidance(self) -> Guidance:
        """Dev is told a scale, which was distilled into it; schnell was distilled to a few steps without one."""
        return "embedded" if self.denoiser.config.guidance_embeds else "none"

    def original_layer(self, layer: str) -> OriginalLayer:
        """Double blocks made queries, keys and values in one layer; single blocks those and the MLP's input."""
        double = renamed(layer, {"transformer_blocks": "double_blocks"}, _DOUBLE_ENDS)
        if double is not None:
            return double
        single = renamed(layer, {"single_transformer_blocks": "single_blocks"}, _SINGLE_ENDS)
        assert single is not None, f"no name in the original release is known for {layer}"
        # Their MLP is four times as wide as the stream: the queries are the first of seven shares.
        return OriginalLayer(single.name, single.first_share, single.shares + MLP_RATIO)

    @property
    def architecture(self) -> str | None:
        """The published ones are of one size."""
        config = self.denoiser.config
        if (config.num_layers, config.num_single_layers, config.joint_attention_dim) != (
            PUBLISHED_DOUBLE_BLOCKS,
            38,
            4096,
        ):
            return None
        return "flux-1-dev" if config.guidance_embeds else "flux-1-schnell"

    @property
    def latent_multiple(self) -> int:
        """The side of the squares that are packed."""
        return SIDE_OF_SQUARES

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """Double blocks, at the published depth."""
        return localising_blocks(self.denoiser.config.num_layers)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Two text encoders, which do not know the resolution."""
        del resolution
        t5_length = stream_length(self.family.text_streams[0], self.pipeline.tokenizer_2, self.source)
        prompt_embeds, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.device, num_images_per_prompt=1, max_sequence_length=t5_length
        )
        return Conditioning({"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled})

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        """Call the transformer on the packed latents.

        Without a scale, as when a prediction is compared with the data, embedded guidance is told to do nothing.
        """
        height, width = latents.shape[-2:]
        prompt_embeds = conditioning["prompt_embeds"]
        positions = image_positions(height // 2, width // 2, latents.device)
        sequence = self.denoiser(
            hidden_states=pack(latents),
            timestep=timesteps.to(latents.dtype) / 1000,
            guidance=self._told_guidance(latents, guidance_scale),
            encoder_hidden_states=prompt_embeds,
            pooled_projections=conditioning["pooled_prompt_embeds"],
            txt_ids=positions.new_zeros(prompt_embeds.shape[1], 3),
            img_ids=functional.pad(positions, (1, 0)),
            return_dict=False,
        )[0]
        return unpack(sequence, height, width)

    def _told_guidance(self, latents: Tensor, guidance_scale: float | None) -> Tensor | None:
        """(B,), or None for a transformer that is told none."""
        if self.guidance == "none":
            return None
        scale = NO_GUIDANCE if guidance_scale is None else guidance_scale
        return torch.full((len(latents),), scale, device=latents.device)
