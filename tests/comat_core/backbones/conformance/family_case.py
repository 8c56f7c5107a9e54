"""One family's tiny model, and sampling from it with the stock pipeline and with ours, from the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import DenoisingResult, denoise
from comat_core.sampling.schedulers import Scheduler
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.stock_sampling import PROMPTS, row_generators
from tests.tiny_families import TinyFamily
from tests.tiny_models import IMAGE_SIDE

STEPS = 4
GUIDANCE = 3.0


@dataclass
class FamilyCase:
    """A model of a test's own."""

    kind: str
    folder: Path
    model: Backbone
    family: TinyFamily

    @property
    def scheduler(self) -> Scheduler:
        """The family's."""
        return self.model.make_scheduler(self.family.scheduler, IMAGE_SIDE)

    @property
    def text_first(self) -> bool:
        """Whether the prompt's tokens come before the image's in a joint softmax."""
        return self.family.text_first

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        side = self.model.latent_size(IMAGE_SIDE)
        return self.model.latent_channels, side, side

    def stock_pipeline(self) -> Any:
        """Load the checkpoint as anybody else would."""
        pipeline = DiffusionPipeline.from_pretrained(self.folder, **dict.fromkeys(self.family.missing_parts))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def stock_images(self, pipeline: Any = None) -> Tensor:
        """The stock pipeline's images (B, 3, H, W), clamped to [0, 1], from the noise that `sample` starts from."""
        pipeline = pipeline or self.stock_pipeline()
        pipeline.scheduler = self.scheduler.own
        return pipeline(
            prompt=list(PROMPTS),
            height=IMAGE_SIDE,
            width=IMAGE_SIDE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=row_generators(len(PROMPTS)),
            output_type="pt",
            **self.family.stock_options,
        ).images

    def sample(self, rows: Sequence[int] = range(len(PROMPTS)), **options: Any) -> DenoisingResult:
        """Our denoising loop on the given rows of that batch."""
        generators = [row_generators(len(PROMPTS))[row] for row in rows]
        dtype = torch.promote_types(self.model.dtype, torch.float32)
        settings: dict[str, Any] = {
            "scheduler": self.scheduler,
            "num_inference_steps": STEPS,
            "guidance_scale": GUIDANCE,
            "generators": generators,
        }
        noise = normal_noise(self.latent_shape, generators, dtype=dtype)
        return denoise(
            self.model,
            options.pop("latents", noise),
            self.model.encode_prompts([PROMPTS[row] for row in rows], IMAGE_SIDE),
            self.model.encode_unconditional(len(rows), IMAGE_SIDE),
            **(settings | options),
        )

    def images(self, **options: Any) -> Tensor:
        """Our images (B, 3, H, W), clamped to [0, 1]."""
        with torch.no_grad():
            return self.model.decode(self.sample(**options).latents).clamp(0, 1)


@torch.no_grad()
def randomise(parameters: Sequence[Tensor], scale: float = 0.3) -> None:
    """Fill an adapter as if it had been trained: no weight is zero.

    The numbers are these, not those of the adapters' own tests: with some draws the relus in SANA's linear attention
    lie closer to zero than a finite difference is wide.
    """
    for index, parameter in enumerate(parameters):
        noise = torch.randn(parameter.shape, generator=make_generator(5, "adapter", index))
        parameter.copy_(scale * noise)
