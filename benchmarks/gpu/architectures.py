"""The architectures that are measured, with random weights, made where they are to be used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.full_size_models import (
    Sizes,
    autoencoder,
    beta_scheduler,
    full_sizes,
    letter_tokenizer,
    sdxl_unet,
    stable_diffusion,
    tiny_sizes,
)
from benchmarks.full_size_transformers import CLIP_BIG_G, CLIP_L, CLIP_VOCABULARY, PUBLISHED, clip_text_encoder
from comat_core.backbones.loading import wrap_pipeline
from comat_core.backbones.protocol import Backbone
from comat_core.support.precisions import made_in
from data.miniature_world.recipes.stable_diffusion_3 import build_flow_pipeline

TINY_CLIP: Final = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Place:
    """Where a model is made, and as what."""

    device: torch.device
    dtype: torch.dtype
    tiny: bool = False
    """Small networks of the same kinds."""

    @property
    def sizes(self) -> Sizes:
        return tiny_sizes() if self.tiny else full_sizes()


@dataclass(frozen=True)
class Architecture:
    """A published model that a preset trains."""

    preset: str
    make_pipeline: Callable[[Place, Any], Any]
    """Told its place and a scheduler; called where the place's device and precision are the default ones."""
    make_scheduler: Callable[[], Any]
    discriminator: str | None = None
    """The architecture that the preset's discriminator stands on, if it is another one."""

    def make(self, place: Place) -> Backbone:
        """Make the model as the product holds it: frozen, in one precision, on one device."""
        scheduler = self.make_scheduler()  # its noise levels stay in float32 on the CPU
        with _made_at(place):
            return wrap_pipeline(self.make_pipeline(place, scheduler), f"{self.preset} at random weights")


def _sd15(place: Place, scheduler: Any) -> Any:
    return stable_diffusion(place.sizes, scheduler)


def _sdxl(place: Place, scheduler: Any) -> Any:
    """An SDXL base pipeline, whose autoencoder bears half precision as the preset's does."""
    kind: Any = StableDiffusionXLPipeline
    first, second = (TINY_CLIP, TINY_CLIP) if place.tiny else (CLIP_L, CLIP_BIG_G)
    return kind(
        vae=autoencoder(place.sizes, scaling_factor=0.13025, force_upcast=False),
        text_encoder=clip_text_encoder(CLIPTextModel, first),
        tokenizer=letter_tokenizer(CLIP_VOCABULARY),
        text_encoder_2=clip_text_encoder(CLIPTextModelWithProjection, second),
        tokenizer_2=letter_tokenizer(CLIP_VOCABULARY),
        unet=sdxl_unet(place.sizes),
        scheduler=scheduler,
        add_watermarker=False,
    )


def _sd35(place: Place, scheduler: Any) -> Any:
    """Stable Diffusion 3.5 medium with all its text encoders; when tiny, the miniature's untrained kind of it."""
    if place.tiny:
        pipeline = build_flow_pipeline(autoencoder(place.sizes, scaling_factor=1.0), seed=0)
        pipeline.register_modules(scheduler=scheduler)
        return pipeline
    published = PUBLISHED["sd35"]
    return published.make_pipeline(published.config, True, scheduler)


ARCHITECTURES: Final = {
    "sd15": Architecture("sd15", _sd15, beta_scheduler),
    "sdxl": Architecture("sdxl", _sdxl, beta_scheduler, discriminator="sd15"),
    "sd35": Architecture(PUBLISHED["sd35"].preset, _sd35, PUBLISHED["sd35"].make_scheduler),
}


@contextmanager
def _made_at(place: Place) -> Iterator[None]:
    """Within the context tensors are made at a place: half the size at once, and no copy from the CPU."""
    with made_in(place.dtype), torch.device(place.device):
        yield
