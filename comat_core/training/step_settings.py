"""The settings of Algorithm 1, described and checked once: the train stage's config is made of these very types.

Defaults are the paper's for Stable Diffusion 1.5.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from comat_core.settings import SAME_RESULT, UNSAID_IF_EMPTY, Sampler, SchedulerName, Settings

TokenReduction = Literal["mean", "sum"]
ConcentrationVariant = Literal["paper", "release"]


GO_ON_FROM_A_STATE: Final[tuple[SchedulerName, ...]] = ("ddim", "flow-euler")
"""Schedulers that walk the same way from a state in the middle: they draw no noise and remember no earlier step."""


class LossWeights(Settings):
    """Weights between the losses; 0 switches a loss off, and what it costs with it."""

    concept_activation: Annotated[float, Field(ge=0, description="weight of L_i2t")] = 1.0
    fidelity: Annotated[float, Field(ge=0, description="lambda, weight of L_adv")] = 1.0
    attribute_region: Annotated[float, Field(ge=0, description="alpha of L_pos and L_neg")] = 1e-3
    attribute_pixel: Annotated[float, Field(ge=0, description="beta of L_pos and L_neg")] = 5e-5

    @property
    def attribute_concentration(self) -> bool:
        """Whether any part of it is on."""
        return self.attribute_region != 0 or self.attribute_pixel != 0

    @property
    def all_off(self) -> bool:
        """Whether nothing is learned."""
        return not (self.concept_activation or self.fidelity or self.attribute_concentration)


class TrainingSampler(Sampler):
    """How the online model denoises while it trains. The latents stage must sample alike."""

    gradient_steps: Annotated[int, Field(ge=1, le=1000, description="K of the T steps keep a gradient")] = 5
    attention_steps: Annotated[int, Field(ge=1, le=1000, description="r of the K steps give attention maps")] = 2
    gradient_step_draw: Annotated[
        Literal["uniform", "strided"], Field(description="the paper's draw of the K steps, or the authors' code's")
    ] = "uniform"
    detach_denoiser_input: Annotated[
        bool, Field(description="stop the gradient at the denoiser's input in the K steps, as the paper does")
    ] = True
    tau_range: Annotated[
        tuple[int, int],
        Field(description="[T1, T2], timesteps from which noised real images are denoised; the paper names no numbers"),
    ] = (200, 900)

    start_steps: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        UNSAID_IF_EMPTY,
        Field(
            min_length=1,
            description="steps of which each optimiser step draws one, to start from the reference's state there "
            "(latents.kept_steps); 0 is noise, and one named twice is drawn twice as often; none: always from noise",
        ),
    ] = None

    @model_validator(mode="after")
    def _starts_fit(self) -> "TrainingSampler":
        latest = max(self.start_steps or (0,))
        if latest and self.scheduler not in GO_ON_FROM_A_STATE:
            raise ValueError(f"start_steps need one of the schedulers {', '.join(GO_ON_FROM_A_STATE)}")
        if latest and self.gradient_steps > self.num_inference_steps - latest:
            raise ValueError("gradient_steps must be left after the last of start_steps")
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> "TrainingSampler":
        if not self.attention_steps <= self.gradient_steps <= self.num_inference_steps:
            raise ValueError("attention_steps <= gradient_steps <= num_inference_steps must hold")
        if not 0 <= self.tau_range[0] <= self.tau_range[1]:
            raise ValueError("tau_range must be two timesteps in ascending order")
        return self


class AdversarySettings(Settings):
    """What the discriminator is asked to tell apart."""

    real: Annotated[
        Literal["generated", "real"],
        Field(description="what it takes for real: the reference model's latents, or those of the real images"),
    ] = "generated"


class StepSettings(Settings):
    """How a training step samples and what it weighs."""

    resolution: Annotated[int, Field(ge=8, description="pixels per side")]
    sampling: TrainingSampler = TrainingSampler()
    weights: LossWeights = LossWeights()
    discriminator: AdversarySettings = AdversarySettings()
    mixed_latents: Annotated[
        bool, Field(description="denoise the real images, noised, for L_i2t; else they can only be D's real ones")
    ] = True
    token_reduction: Annotated[
        TokenReduction, Field(description="of a caption's token losses (release: mean, equation 2: sum)")
    ] = "mean"
    concentration_variant: Annotated[
        ConcentrationVariant, Field(description="attribute concentration by equations 4, 5 or the authors' code")
    ] = "paper"
    attention_layers: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            description="patterns of the names of the layers whose maps are concentrated; null: the family's own",
        ),
    ] = None
    saturating: Annotated[bool, Field(description="minimise equation 3 as printed instead of its usual variant")] = (
        False
    )
    checkpoint_denoiser: Annotated[
        bool, SAME_RESULT, Field(description="recompute the denoiser in the backward pass: less memory, more time")
    ] = True
    checkpoint_decoder: Annotated[bool, SAME_RESULT, Field(description="decode image by image, twice")] = False
