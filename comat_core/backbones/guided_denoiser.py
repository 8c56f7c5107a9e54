"""One call of the denoising loop: guidance, attention capture, and recomputation in the backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.adapters import adapters_as_now
from comat_core.backbones.attention_maps import CaptureRequest, captured_attention
from comat_core.backbones.conditioning import Conditioning
from comat_core.backbones.protocol import Backbone


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

    @classmethod
    def of(
        cls,
        model: Backbone,
        conditioning: Conditioning,
        negative_conditioning: Conditioning | None,
        guidance_scale: float,
        capture: CaptureRequest | None,
    ) -> "GuidedDenoiser":
        """Guide a model as its kind is guided.

        Args:
            negative_conditioning: B rows; may be None where the denoiser's batch has no unconditional half.
            guidance_scale: 1 or less turns the unconditional half off.
        """
        in_halves = model.guidance == "two halves" and guidance_scale > 1
        assert not in_halves or negative_conditioning is not None, "guidance needs a negative conditioning"
        return cls(model, conditioning, negative_conditioning if in_halves else None, guidance_scale, capture)

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
        if self.negative_conditioning is not None:
            conditioning = Conditioning.concatenate([self.negative_conditioning.select(rows), conditioning])
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
        return self._guided(output), maps

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
        if self.negative_conditioning is None:
            return output
        unconditional, conditional = output.chunk(2)
        return unconditional + self.guidance_scale * (conditional - unconditional)

    def _captured(self, capture: CaptureRequest, rows: Sequence[int]) -> list[int]:
        """Positions among the given rows of those whose maps are asked for."""
        asked = slice(None) if capture.rows is None else capture.rows
        wanted = range(len(self.conditioning))[asked] if isinstance(asked, slice) else asked
        missing = sorted(set(wanted) - set(rows))
        assert not missing, f"rows {missing} have not joined yet at a captured step"
        return [list(rows).index(row) for row in wanted]
