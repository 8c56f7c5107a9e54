"""What one training step works with: the models, a batch, and the settings of Algorithm 1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from comat_core.backbones.text_to_image import PromptConditioning, TextToImageModel
from comat_core.captioners.protocol import ImageToText
from comat_core.discriminators.protocol import Discriminator
from comat_core.losses.attribute_concentration import ConcentrationVariant, EntityTokens
from comat_core.losses.concept_activation import TokenReduction
from comat_core.segmenters.protocol import Segmenter


@dataclass
class CoMatModels:
    """The models of Algorithm 1. The reference model e_pre is not among them: its latents come with the batch."""

    online: TextToImageModel
    """e_theta, with its trainable adapter active."""
    scheduler: Any
    """The diffusers scheduler that training samples with; copied, never changed."""
    unconditional: PromptConditioning
    """One row, what guidance leads away from: `online.encode_unconditional(1, resolution)`."""
    captioner: ImageToText | None = None
    """C; needed while the weight of concept activation is not 0."""
    discriminator: Discriminator | None = None
    """D; needed while the weight of fidelity is not 0."""
    segmenter: Segmenter | None = None
    """S; needed while a weight of attribute concentration is not 0."""


@dataclass
class CoMatBatch:
    """B prompts and G real images with their captions."""

    prompts: Sequence[str]
    """P: B texts."""
    trajectory_seeds: Sequence[int]
    """B seeds, one per prompt, that the reference latents were sampled from."""
    entities: Sequence[Sequence[EntityTokens]] = ()
    """The entities of each of the B prompts."""
    reference_latents: Tensor | None = None
    """z^_0: (B, C, h, w), the reference model's result on the same trajectories."""
    pair_ids: Sequence[str | int] = ()
    """G identities, for the pairs' random numbers."""
    pair_captions: Sequence[str] = ()
    """P_g: G texts."""
    pair_latents: Tensor | None = None
    """VAE(I_g): (G, C, h, w), latents of real images in the UNet's scale."""


@dataclass(frozen=True)
class LossWeights:
    """A weight of 0 switches its term off, and what the term costs with it."""

    concept_activation: float = 1.0
    fidelity: float = 1.0
    """lambda."""
    attribute_region: float = 1e-3
    """alpha."""
    attribute_pixel: float = 5e-5
    """beta."""

    @property
    def attribute_concentration(self) -> bool:
        """Whether any part of it is on."""
        return self.attribute_region != 0 or self.attribute_pixel != 0


@dataclass(frozen=True)
class StepSettings:
    """How a step samples and what it weighs. Defaults are the paper's for SD 1.5."""

    tau_range: tuple[int, int]
    """[T1, T2], timesteps of the training schedule, from which real images are denoised; the paper names no numbers."""
    resolution: int = 512
    """Side of the images, pixels."""
    num_inference_steps: int = 50
    """T."""
    guidance_scale: float = 7.5
    gradient_steps: int = 5
    """K of the T steps keep a gradient."""
    attention_steps: int = 2
    """r of the K steps give attention maps."""
    gradient_step_draw: Literal["uniform", "strided"] = "uniform"
    """The paper's draw of the K steps, or the authors' code's."""
    detach_unet_input: bool = True
    """Stop-gradient on the UNet's input (DRTune)."""
    checkpoint_unet: bool = True
    """Recompute the UNet in the backward pass instead of keeping its activations."""
    checkpoint_decoder: bool = False
    """Decode image by image, and again in the backward pass."""
    token_reduction: TokenReduction = "mean"
    """Of the caption's tokens in concept activation."""
    saturating: bool = False
    """The online model minimises equation 3 as printed."""
    mixed_latents: bool = True
    """Denoise noised real images jointly with the prompts, for concept activation; else only D may use them."""
    discriminator_real: Literal["generated", "real"] = "generated"
    """What the discriminator takes for real: the reference model's latents, or those of the real images (Table 3)."""
    concentration_variant: ConcentrationVariant = "paper"
    weights: LossWeights = field(default_factory=LossWeights)
