"""Stable Diffusion 1.x and 2.x as a backbone."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal

from torch import Tensor

from comat_core.backbones.attention.cross_attention import CrossAttentionProbe
from comat_core.backbones.families.stable_diffusion import FAMILIES
from comat_core.backbones.lora.original_layers import OriginalLayer
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.support.errors import UserError

_VERSION_2: Final = "stable-diffusion-v2"
_ARCHITECTURES: Final = {768: "stable-diffusion-v1", 1024: _VERSION_2, 2048: "stable-diffusion-xl-v1-base"}


class StableDiffusion(Backbone):
    """A UNet with cross-attention to the last hidden states of a text encoder."""

    family = FAMILIES["StableDiffusionPipeline"]
    denoiser_part: ClassVar[Literal["unet", "transformer"]] = "unet"
    denoiser_label = "UNet"
    attention_layers_source = "the paper"
    attention_probe = CrossAttentionProbe()

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline.

        Raises:
            UserError: its UNet takes more than latents, or has its guidance distilled in.
        """
        super().__init__(pipeline, source)
        if self.denoiser.config.in_channels != self.latent_channels:
            raise UserError("the UNet takes more than latents", source, "use a plain text-to-image checkpoint")
        if self.denoiser.config.time_cond_proj_dim is not None:
            problem = "the UNet has its guidance distilled in"
            raise UserError(problem, source, "use the checkpoint it was distilled from")

    @property
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """The paper's choice: the middle block and the way up."""
        return ("mid_block.*", "up_blocks.*")

    @property
    def architecture(self) -> str | None:
        """The published ones differ in the width of their text embeddings."""
        name = _ARCHITECTURES.get(self.denoiser.config.cross_attention_dim)
        if name == _VERSION_2:
            return f"{name}-768-v" if self.prediction_type == "v_prediction" else f"{name}-512"
        return name

    def original_layer(self, layer: str) -> OriginalLayer:
        """The names of diffusers, with underscores."""
        return OriginalLayer(layer.replace(".", "_"))

    @property
    def latent_multiple(self) -> int:
        """The UNet halves the sides between its levels."""
        return 2 ** (len(self.denoiser.config.block_out_channels) - 1)

    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """The text encoder does not know the resolution."""
        del resolution
        prompted, _ = self._stock_embeds(prompts, guided=False)
        return Conditioning({"prompt_embeds": prompted})

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        del resolution
        _, unconditional = self._stock_embeds([""], guided=True)
        return Conditioning({"prompt_embeds": unconditional})

    def _stock_embeds(self, prompts: Sequence[str], *, guided: bool) -> tuple[Tensor, ...]:
        """What the stock pipeline encodes: the prompts and, if guided, what it leads away from."""
        return self.pipeline.encode_prompt(
            list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=guided
        )

    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        del guidance_scale
        return self.denoiser(
            latents,
            timesteps,
            encoder_hidden_states=conditioning["prompt_embeds"],
            added_cond_kwargs=self._added_conditions(conditioning),
            return_dict=False,
        )[0]

    def _added_conditions(self, conditioning: Conditioning) -> dict[str, Tensor] | None:
        """What the UNet is told beside the text: nothing."""
        del conditioning
        return None
