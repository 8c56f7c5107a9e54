"""PixArt-alpha and PixArt-Sigma as backbones."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from comat_core.backbones.attention.cross_attention import CrossAttentionProbe, middle_half
from comat_core.backbones.families.pixart import FAMILIES
from comat_core.backbones.lora.lora_files import PeftLoraFiles
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import stream_length

_TOLD_SIZES: Final = 128
"""Side of the latents of the published transformers that are told the image's sizes beside the text."""


class PixArt(Backbone):
    """A transformer on patches of latents, whose cross-attention leaves the text's padding out."""

    family = FAMILIES["PixArtAlphaPipeline"]
    attention_layers_source = "not measured"
    attention_probe = CrossAttentionProbe()
    lora_files = PeftLoraFiles()

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """The cross-attention of the middle blocks: a guess."""
        return middle_half(self.denoiser.config.num_layers)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """T5's hidden states in small letters, and which of its tokens are no padding.

        As the stock pipeline's with `clean_caption=False` and `use_resolution_binning=False`: cleaning would take words
        out of a prompt, and binning would draw another size than the one asked for.
        """
        prompted, mask, _, _ = self._stock_embeds(prompts, guided=False)
        return self._with_sizes(prompted, mask, resolution)

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        _, _, unconditional, mask = self._stock_embeds([""], guided=True)
        return self._with_sizes(unconditional, mask, resolution)

    def _stock_embeds(self, prompts: Sequence[str], *, guided: bool) -> tuple[Tensor, ...]:
        (stream,) = self.family.text_streams
        return self.pipeline.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=guided,
            device=self.device,
            clean_caption=False,
            max_sequence_length=stream_length(stream, self.pipeline.tokenizer, self.source),
        )

    @property
    def is_told_sizes(self) -> bool:
        """Whether the transformer is told the image's sizes beside the text."""
        return self.denoiser.config.sample_size == _TOLD_SIZES

    def _with_sizes(self, prompt_embeds: Tensor, mask: Tensor, resolution: int) -> Conditioning:
        """Add height and width in pixels, (B, 2), and the ratio of the two, (B, 1), where they are told."""
        told = {"prompt_embeds": prompt_embeds, "prompt_mask": mask}
        if self.is_told_sizes:
            sizes = prompt_embeds.new_tensor([resolution, resolution]).expand(len(prompt_embeds), 2)
            told |= {"resolution": sizes, "aspect_ratio": torch.ones_like(sizes[:, :1])}
        return Conditioning(told)

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        """The transformer predicts a variance too, in further channels, which no scheduler here asks for."""
        del guidance_scale
        predicted: Tensor = self.denoiser(
            latents,
            encoder_hidden_states=conditioning["prompt_embeds"],
            encoder_attention_mask=conditioning["prompt_mask"],
            timestep=timesteps,
            added_cond_kwargs={name: conditioning.tensors.get(name) for name in ("resolution", "aspect_ratio")},
            return_dict=False,
        )[0]
        return predicted[:, : self.latent_channels]


class PixArtSigma(PixArt):
    """Its successor: longer prompts, and no word of sizes."""

    family = FAMILIES["PixArtSigmaPipeline"]

    @property
    def is_told_sizes(self) -> bool:
        return False
