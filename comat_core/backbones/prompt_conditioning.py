"""What the UNet is told about each image: encoded prompts, and how each kind of pipeline makes them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class PromptConditioning:
    """A batch of B encoded prompts, every field with its rows in the same order.

    Pipelines with one text encoder leave the last two fields out.
    """

    prompt_embeds: Tensor
    """(B, L, D): L tokens, start and padding tokens included, of the cross-attention's width D."""
    pooled_prompt_embeds: Tensor | None = None
    """(B, P): one vector per prompt."""
    time_ids: Tensor | None = None
    """(B, 6): original height and width, top and left crop, target height and width, in pixels."""

    def __len__(self) -> int:
        return self.prompt_embeds.shape[0]

    def select(self, rows: Sequence[int] | slice) -> "PromptConditioning":
        """Take the given rows, in the given order; a row may be taken more than once."""
        chosen = rows if isinstance(rows, slice) else list(rows)
        return self._map(lambda tensor: tensor[chosen])

    def repeat(self, count: int) -> "PromptConditioning":
        """Repeat every row `count` times, copies of one row standing together."""
        return self._map(lambda tensor: tensor.repeat_interleave(count, dim=0))

    def replaced_by(self, row: "PromptConditioning", where: Sequence[bool]) -> "PromptConditioning":
        """Put one row, the only one of another batch of the same pipeline, in all the places where `where` is true."""
        assert len(row) == 1 and len(where) == len(self)
        joined = PromptConditioning.concatenate([self, row])
        return joined.select([len(self) if replaced else index for index, replaced in enumerate(where)])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "PromptConditioning":
        """Move and cast every field."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    @staticmethod
    def concatenate(batches: Sequence["PromptConditioning"]) -> "PromptConditioning":
        """Join batches of the same pipeline, one after the other."""
        assert batches, "nothing to concatenate"
        joined: dict[str, Tensor | None] = {}
        for field in fields(PromptConditioning):
            parts = [getattr(batch, field.name) for batch in batches]
            assert len({part is None for part in parts}) == 1, f"only some batches have {field.name}"
            joined[field.name] = None if parts[0] is None else torch.cat(parts)
        return PromptConditioning(**joined)  # pyright: ignore[reportArgumentType]

    def added_conditions(self) -> dict[str, Tensor] | None:
        """Return the UNet's `added_cond_kwargs`, None where the UNet takes none."""
        if self.pooled_prompt_embeds is None or self.time_ids is None:
            return None
        return {"text_embeds": self.pooled_prompt_embeds, "time_ids": self.time_ids}

    def _map(self, change: Any) -> "PromptConditioning":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in values.items()}
        return PromptConditioning(**changed)


class PromptEncoder(Protocol):
    """Encode prompts as one kind of stock pipeline would."""

    def __call__(
        self, pipeline: Any, prompts: Sequence[str], resolution: int
    ) -> tuple[PromptConditioning, PromptConditioning]:
        """Return the prompts' conditioning and, row for row, the unconditional half the pipeline pairs them with.

        Args:
            pipeline: the loaded diffusers pipeline.
            prompts: B texts.
            resolution: side of the (square) image, in pixels.
        """
        ...


def encode_stable_diffusion(
    pipeline: Any, prompts: Sequence[str], resolution: int
) -> tuple[PromptConditioning, PromptConditioning]:
    """Stable Diffusion 1.x and 2.x: one text encoder, which does not know the resolution."""
    del resolution
    prompted, unconditional = pipeline.encode_prompt(
        list(prompts), device=pipeline.unet.device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    return PromptConditioning(prompted), PromptConditioning(unconditional)


def encode_stable_diffusion_xl(
    pipeline: Any, prompts: Sequence[str], resolution: int
) -> tuple[PromptConditioning, PromptConditioning]:
    """SDXL: two text encoders, a pooled vector, and the sizes of an uncropped image of the given resolution."""
    prompted, unconditional, pooled, unconditional_pooled = pipeline.encode_prompt(
        list(prompts), device=pipeline.unet.device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    sizes = [resolution, resolution, 0, 0, resolution, resolution]
    time_ids = torch.tensor([sizes] * len(prompts), dtype=prompted.dtype, device=prompted.device)
    return (
        PromptConditioning(prompted, pooled, time_ids),
        PromptConditioning(unconditional, unconditional_pooled, time_ids.clone()),
    )
