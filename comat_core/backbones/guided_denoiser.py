"""One call of the denoising loop: guidance, attention capture, and recomputation in the backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.adapters import adapters_as_now
from comat_core.backbones.attention_maps import CaptureRequest, captured_attention
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.support.errors import UserError


@dataclass(frozen=True)
class GuidedDenoiser:
    """A backbone with guidance, for a batch of B rows of which any part may be denoised."""

    model: Backbone
    conditioning: Conditioning
    """B rows."""
    negative_conditioning: Conditioning | None
    """B rows, or None for no unconditional half."""
    guidance_scale: float
    capture: CaptureRequest | None
    guidance_interval: tuple[float, float] | None = None
    """Timesteps, both ends included, in which there is an unconditional half; None for all."""

    @classmethod
    def of(
        cls,
        model: Backbone,
        conditioning: Conditioning,
        negative_conditioning: Conditioning | None,
        guidance_scale: float,
        capture: CaptureRequest | None,
        guidance_interval: tuple[float, float] | None = None,
    ) -> "GuidedDenoiser":
        """Guide a model as its kind is guided.

        Args:
            negative_conditioning: B rows; may be None where the denoiser's batch has no unconditional half.
            guidance_scale: 1 or less turns the unconditional half off.
            guidance_interval: the timesteps that are guided (Kynkaanniemi et al. 2024); at the others the conditional
                half is all there is, and the prediction.

        Raises:
            UserError: an interval for a model that has no unconditional half.
        """
        if guidance_interval is not None and model.guidance != "two halves":
            told = "is told its guidance scale" if model.guidance == "embedded" else "is not guided"
            problem = f"this {type(model.pipeline).__name__} {told}: it has no unconditional half to leave out"
            raise UserError(problem, "guidance_interval", "leave the setting out for this model")
        in_halves = model.guidance == "two halves" and guidance_scale > 1
        assert not in_halves or negative_conditioning is not None, "guidance needs a negative conditioning"
        negative = negative_conditioning if in_halves else None
        return cls(model, conditioning, negative, guidance_scale, capture, guidance_interval)

    def predict(
        self, latents: Tensor, rows: Sequence[int], step: int, timestep: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict for some rows of the batch, both halves in one call.

        Args:
            latents: (len(rows), C, h, w), scaled for the timestep.
            rows: which rows of the batch they are.
            step: index of the denoising step.
            timestep: a scalar of the training schedule.

        Returns:
            The guided prediction (len(rows), C, h, w), and the maps by layer (none at a step that is not captured).
        """
        conditioning, network_input = self.conditioning.select(rows), latents
        negative = self.negative_conditioning if is_guided(timestep, self.guidance_interval) else None
        if negative is not None:
            conditioning = Conditioning.concatenate([negative.select(rows), conditioning])
            network_input = torch.cat([latents, latents])
        if self.capture is not None and step in self.capture.steps:
            layers = self.model.attention_layers(self.capture.layers)
            first_conditional = len(network_input) - len(rows)
            captured_rows = [first_conditional + row for row in self._captured(self.capture, rows)]
            size = (latents.shape[-2], latents.shape[-1])
            with captured_attention(self.model.attention_probe, layers, captured_rows, size) as maps:
                output = self.model.predict(network_input, timestep, conditioning, self.guidance_scale)
        else:
            output, maps = self.model.predict(network_input, timestep, conditioning, self.guidance_scale), {}
        return output if negative is None else self._guided(output), maps

    def predict_recomputed(
        self, latents: Tensor, rows: Sequence[int], step: int, timestep: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict without keeping activations: the call is repeated in the backward pass.

        By then another adapter may be active on the same denoiser, so the present ones are pinned to the call.
        """
        pinned = adapters_as_now(self.model.denoiser)

        def repeatable(repeatable_latents: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with pinned():
                return self.predict(repeatable_latents, rows, step, timestep)

        return checkpoint(repeatable, latents, use_reentrant=False)  # pyright: ignore[reportReturnType]

    def _guided(self, output: Tensor) -> Tensor:
        unconditional, conditional = output.chunk(2)
        return unconditional + self.guidance_scale * (conditional - unconditional)

    def _captured(self, capture: CaptureRequest, rows: Sequence[int]) -> list[int]:
        """Positions among the given rows of those whose maps are asked for."""
        asked = slice(None) if capture.rows is None else capture.rows
        wanted = range(len(self.conditioning))[asked] if isinstance(asked, slice) else asked
        missing = sorted(set(wanted) - set(rows))
        assert not missing, f"rows {missing} have not joined yet at a captured step"
        return [list(rows).index(row) for row in wanted]


def is_guided(timestep: Tensor, interval: tuple[float, float] | None) -> bool:
    """Whether a timestep, a scalar, lies where guidance is on; without an interval every one does."""
    return interval is None or interval[0] <= float(timestep) <= interval[1]
