"""FLUX.2 klein as a backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux2 import Flux2Attention, Flux2ParallelSelfAttention
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor
from torch.nn import functional

from comat_core.backbones.attention.joint_projections import JOINT_PROJECTIONS
from comat_core.backbones.attention.rotated_attention import RotatedAttentionProbe, localising_blocks
from comat_core.backbones.autoencoder import Autoencoder
from comat_core.backbones.families.flux2_klein import FAMILIES, MESSAGE_BEGINS
from comat_core.backbones.families.flux2_klein.autoencoder import Flux2Autoencoder
from comat_core.backbones.packing import as_grid, as_sequence, image_positions
from comat_core.backbones.protocol import Backbone, Guidance
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import stream_length
from comat_core.sampling.schedulers import FlowWalk
from comat_core.support.errors import UserError


class Flux2Klein(Backbone):
    """A transformer joint with hidden states of a chat model, on latents that its autoencoder has packed already."""

    family = FAMILIES["Flux2KleinPipeline"]
    adapter_targets = (*JOINT_PROJECTIONS, "attn.to_qkv_mlp_proj")
    attention_layers_source = "not measured"
    attention_probe = RotatedAttentionProbe(Flux2Attention, Flux2ParallelSelfAttention, latents_per_position=1)
    flow_walk = FlowWalk(down_to_one_step=True, dynamic_shift=compute_empirical_mu)

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline.

        Raises:
            UserError: its transformer takes more than latents, or its tokenizer puts the prompt at another place.
        """
        super().__init__(pipeline, source)
        _check_place_of_prompt(pipeline.tokenizer, source)
        if self.denoiser.config.in_channels != self.latent_channels:
            raise UserError("the transformer takes more than latents", source, "use a plain text-to-image checkpoint")

    @property
    def guidance(self) -> Guidance:
        """What was distilled to a few steps was distilled with its guidance."""
        return "none" if self.pipeline.config.is_distilled else "two halves"

    @property
    def latent_multiple(self) -> int:
        """Nothing: the autoencoder's own scale counts the packing in."""
        return 1

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """Double blocks at the depth that was measured of FLUX.1; of this model nobody has."""
        return localising_blocks(self.denoiser.config.num_layers)

    def _make_autoencoder(self, vae: Any) -> Autoencoder:
        return Flux2Autoencoder(vae, self.source)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """The chat model does not know the resolution."""
        del resolution
        length = stream_length(self.family.text_streams[0], self.pipeline.tokenizer, self.source)
        prompt_embeds, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.device, num_images_per_prompt=1, max_sequence_length=length
        )
        return Conditioning({"prompt_embeds": prompt_embeds})

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        """Call the transformer; positions are time, row, column and place in the text, of which each stream has its."""
        del guidance_scale
        height, width = latents.shape[-2:]
        prompt_embeds = conditioning["prompt_embeds"]
        places = torch.arange(prompt_embeds.shape[1], device=latents.device, dtype=torch.float32)
        sequence = self.denoiser(
            hidden_states=as_sequence(latents),
            timestep=timesteps.to(latents.dtype) / 1000,
            encoder_hidden_states=prompt_embeds,
            txt_ids=functional.pad(places[:, None], (3, 0)),
            img_ids=functional.pad(image_positions(height, width, latents.device), (1, 1)),
            return_dict=False,
        )[0]
        return as_grid(sequence, height, width)


def _check_place_of_prompt(tokenizer: Any, source: str) -> None:
    """Make sure that words are looked for where the stock pipeline puts them.

    Raises:
        UserError: padding or something else than `MESSAGE_BEGINS` comes before the prompt.
    """
    message = [{"role": "user", "content": "prompt"}]
    written = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    if tokenizer.padding_side != "right" or not written.startswith(f"{MESSAGE_BEGINS}prompt"):
        raise UserError("its tokenizer does not begin with the prompt's message", source, "use Qwen3's own tokenizer")
