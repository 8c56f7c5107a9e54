"""SANA as a backbone."""

from collections.abc import Sequence
from inspect import signature
from typing import Any, Final

from diffusers import SanaPipeline
from torch import Tensor

from comat_core.backbones.attention.cross_attention import CrossAttentionProbe, middle_half
from comat_core.backbones.autoencoder import Autoencoder
from comat_core.backbones.families.sana import FAMILIES
from comat_core.backbones.families.sana.autoencoder import DeepCompressionAutoencoder
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import stream_length
from comat_core.support.errors import UserError

INSTRUCTION: Final[tuple[str, ...]] = tuple(
    signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
)
"""Lines that the stock pipeline's call puts before every prompt, but not before what it guides away from."""


class Sana(Backbone):
    """A transformer on latents, whose cross-attention leaves the text's padding out."""

    family = FAMILIES["SanaPipeline"]
    attention_layers_source = "not measured"
    attention_probe = CrossAttentionProbe()

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline.

        Raises:
            UserError: its transformer has its guidance distilled in.
        """
        super().__init__(pipeline, source)
        if self.denoiser.config.guidance_embeds:
            problem = "the transformer has its guidance distilled in"
            raise UserError(problem, source, "use the checkpoint it was distilled from")

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """The cross-attention of the middle blocks: a guess."""
        return middle_half(self.denoiser.config.num_layers)

    def _make_autoencoder(self, vae: Any) -> Autoencoder:
        return DeepCompressionAutoencoder(vae, self.source)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Gemma's hidden states of instruction and prompt in small letters, and which tokens are no padding.

        As the stock pipeline's with `use_resolution_binning=False`, which would draw another size than the one asked
        for. The instruction's tokens are read, but all except the first make room for the prompt's.
        """
        del resolution
        prompted, mask, _, _ = self._stock_embeds(prompts, guided=False)
        return Conditioning({"prompt_embeds": prompted, "prompt_mask": mask})

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        del resolution
        _, _, unconditional, mask = self._stock_embeds([""], guided=True)
        return Conditioning({"prompt_embeds": unconditional, "prompt_mask": mask})

    def _stock_embeds(self, prompts: Sequence[str], *, guided: bool) -> tuple[Tensor, ...]:
        (stream,) = self.family.text_streams
        return self.pipeline.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=guided,
            device=self.device,
            max_sequence_length=stream_length(stream, self.pipeline.tokenizer, self.source),
            complex_human_instruction=list(INSTRUCTION),
        )

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        del guidance_scale
        return self.denoiser(
            latents,
            encoder_hidden_states=conditioning["prompt_embeds"],
            encoder_attention_mask=conditioning["prompt_mask"],
            timestep=timesteps * self.denoiser.config.timestep_scale,
            return_dict=False,
        )[0]
