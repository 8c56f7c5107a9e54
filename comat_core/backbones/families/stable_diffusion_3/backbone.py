"""Stable Diffusion 3 and 3.5 as a backbone."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from comat_core.backbones.attention.joint_projections import JOINT_PROJECTIONS, original_ends
from comat_core.backbones.families.stable_diffusion_3 import FAMILIES, T5_LENGTH
from comat_core.backbones.families.stable_diffusion_3.joint_attention import JointAttentionProbe
from comat_core.backbones.lora.original_layers import OriginalLayer, renamed
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import stream_length

_ARCHITECTURES: Final = {
    (24, False): "stable-diffusion-3-m",
    (24, True): "stable-diffusion-3-5-medium",
    (38, True): "stable-diffusion-3-5-large",
}
_ORIGINAL_ENDS: Final = original_ends("x_block_attn", "context_block_attn")


class StableDiffusion3(Backbone):
    """A transformer on patches of latents, joint with the text, told a pooled vector of the prompt beside."""

    family = FAMILIES["StableDiffusion3Pipeline"]
    adapter_targets = JOINT_PROJECTIONS
    attention_layers_source = "Seg4Diff (2025), which measured SD3"
    attention_probe = JointAttentionProbe()

    @property
    def architecture(self) -> str | None:
        """The published ones differ in depth, 3.5 from 3 in its normalised queries."""
        config = self.denoiser.config
        return _ARCHITECTURES.get((config.num_layers, config.qk_norm is not None))

    def original_layer(self, layer: str) -> OriginalLayer:
        """Queries, keys and values were one layer, image and text two halves of a joint block."""
        found = renamed(layer, {"transformer_blocks": "joint_blocks"}, _ORIGINAL_ENDS)
        assert found is not None, f"no name in the original release is known for {layer}"
        return found

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """One block in the middle, which localises nouns best: 9 of SD3's 24, and that depth of others (Seg4Diff)."""
        blocks = self.denoiser.config.num_layers
        return (f"transformer_blocks.{9 * blocks // 24}.attn",)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Three text encoders, which do not know the resolution."""
        del resolution
        prompted, _, pooled, _ = self._stock_embeds(prompts, guided=False)
        return Conditioning({"prompt_embeds": prompted, "pooled_prompt_embeds": pooled})

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        del resolution
        _, unconditional, _, pooled = self._stock_embeds([""], guided=True)
        return Conditioning({"prompt_embeds": unconditional, "pooled_prompt_embeds": pooled})

    def _stock_embeds(self, prompts: Sequence[str], *, guided: bool) -> tuple[Tensor, ...]:
        texts = list(prompts)
        return self.pipeline.encode_prompt(
            texts,
            texts,
            texts,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            max_sequence_length=self.t5_length,
        )

    @property
    def t5_length(self) -> int:
        """Tokens of T5's part of the text axis: zeros where the checkpoint was saved without it."""
        tokenizer = self.pipeline.tokenizer_3
        if tokenizer is None:
            return T5_LENGTH
        stream = self.family.text_streams[1]
        return stream_length(stream, tokenizer, self.source)

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        del guidance_scale
        return self.denoiser(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=conditioning["prompt_embeds"],
            pooled_projections=conditioning["pooled_prompt_embeds"],
            return_dict=False,
        )[0]
