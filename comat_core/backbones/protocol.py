"""What every text-to-image model offers, whatever stands inside: a frozen pipeline, and the calls made on it.

A family of models is a folder beside this file: which classes its pipelines are made of, and a subclass of `Backbone`.
The rest of the project never asks which one it holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from comat_core.backbones.attention_maps import AttentionProbe
from comat_core.backbones.autoencoder import Autoencoder
from comat_core.backbones.family import Family
from comat_core.backbones.lora.lora_files import LoraFiles, StockLoraFiles
from comat_core.backbones.lora.original_layers import OriginalLayer
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.backbones.text.text_layout import TextLayout
from comat_core.backbones.text.token_mixtures import TokenMixtures, mixed_tokens
from comat_core.sampling.schedulers import FlowWalk, Scheduler, make_scheduler
from comat_core.support.errors import UserError
from comat_core.support.memory.offloading import HOME, visiting

TEXT_ENCODERS: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")
"""Names of a pipeline's parts; a kind of pipeline has one, two or three."""

Guidance = Literal["two halves", "embedded", "none"]


class Backbone(ABC):
    """A frozen diffusers pipeline of one family.

    Nothing in it asks for a gradient: trainable weights are adapters, added to `denoiser` by
    `comat_core.backbones.adapters`.
    """

    family: ClassVar[Family]
    denoiser_part: ClassVar[Literal["unet", "transformer"]] = "transformer"
    """Name of the pipeline's part that predicts."""
    denoiser_label: ClassVar[str] = "transformer"
    """What people call it."""
    adapter_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of the names of the linear layers that a LoRA adapts."""
    attention_layers_source: ClassVar[str]
    """Where `attention_layers_by_default` comes from: who measured it, or that nobody has (docs/backbones.md)."""
    attention_probe: ClassVar[AttentionProbe]
    """How attention layers are found and read."""
    flow_walk: ClassVar[FlowWalk] = FlowWalk()
    """What the stock pipeline tells a scheduler of flow matching."""
    lora_files: ClassVar[LoraFiles] = StockLoraFiles()
    """How others load a LoRA of the denoiser."""

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline of the family's kind; `comat_core.backbones.loading.load_backbone` is the way here.

        Args:
            source: folder or hub id, for the reader of an error.
        """
        self.pipeline = pipeline
        self.source = source
        self.denoiser = getattr(pipeline, self.denoiser_part).requires_grad_(False).eval()
        self.scheduler = pipeline.scheduler
        self.autoencoder = self._make_autoencoder(pipeline.vae.requires_grad_(False).eval())
        self._waiting: list[nn.Module] = []
        """Text encoders that are with the denoiser only while they encode."""
        for encoder in self.text_encoders.values():
            encoder.requires_grad_(False).eval()

    # What a family does its own way.

    @abstractmethod
    def _encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Encode prompts as the stock pipeline does, and nothing beside them."""

    def _encode_unconditional(self, resolution: int) -> Conditioning:
        """One row of what the stock pipeline guides away from: where nothing else is said, the empty prompt."""
        return self._encode_prompts([""], resolution)

    @abstractmethod
    def _call(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None
    ) -> Tensor:
        """Call the denoiser once; see `predict`. Everything comes in its own precision."""

    @property
    def latent_multiple(self) -> int:
        """What the denoiser divides the sides of the latents by: a transformer, the side of its patches."""
        return self.denoiser.config.patch_size

    @property
    @abstractmethod
    def attention_layers_by_default(self) -> tuple[str, ...]:
        """Patterns of the names of the layers whose maps say best where an object is (docs/backbones.md)."""

    @property
    def guidance(self) -> Guidance:
        """How the denoiser is guided: by an unconditional half of its batch, by a scale that it is told, or not."""
        return "two halves"

    @property
    def architecture(self) -> str | None:
        """The model by the name of the metadata standard modelspec; None for one that is none of the published."""
        return None

    def original_layer(self, layer: str) -> OriginalLayer:
        """Where a layer stands in the model's original release, whose names kohya's tools use.

        Args:
            layer: an adapted layer by its name in diffusers.

        Raises:
            UserError: those tools know no model of this family.
        """
        problem = f"kohya's tools have no names for the layers of a {type(self.pipeline).__name__}"
        raise UserError(problem, layer, "export --format diffusers or merged")

    def text_layout(self) -> TextLayout:
        """Where the words of a prompt stand on the text axis of the attention maps."""
        streams = self.family.text_streams
        return TextLayout([(stream, getattr(self.pipeline, stream.tokenizer)) for stream in streams], self.source)

    def image_tokens(self, resolution: int) -> int:
        """How many positions a transformer attends from in a square image; some schedules depend on it."""
        return (self.latent_size(resolution) // self.latent_multiple) ** 2

    def _make_autoencoder(self, vae: Any) -> Autoencoder:
        return Autoencoder(vae, self.source)

    # What all have in common.

    @property
    def vae(self) -> Any:
        """The autoencoder's network."""
        return self.autoencoder.network

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """Those that the checkpoint has, by name."""
        found = {name.replace("_", " "): getattr(self.pipeline, name, None) for name in TEXT_ENCODERS}
        return {name: encoder for name, encoder in found.items() if encoder is not None}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that it is made of, by name."""
        return {self.denoiser_label: self.denoiser, "autoencoder": self.vae, **self.text_encoders}

    @property
    def device(self) -> torch.device:
        """Where the denoiser lives."""
        return self.denoiser.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the denoiser computes in; adapters stay in float32."""
        return next(value.dtype for value in self.denoiser.parameters() if value.is_floating_point())

    @property
    def prediction_type(self) -> str:
        """What the denoiser was trained to predict, in the words of `Scheduler.prediction_type`."""
        named = str(self.scheduler.config.get("prediction_type", "flow"))
        return "flow" if named == "flow_prediction" else named

    @property
    def latent_channels(self) -> int:
        """C of latents (B, C, h, w)."""
        return self.autoencoder.latent_channels

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along a side."""
        return self.autoencoder.scale_factor

    def use_channels_last(self) -> None:
        """Lay the weights of denoiser and autoencoder out as convolutions read them fastest."""
        for model in (self.denoiser, self.vae):
            model.to(memory_format=torch.channels_last)

    def offload_text_encoders(self) -> None:
        """Let the text encoders wait in the CPU's memory, and come to the denoiser for the length of a call."""
        self._waiting = [encoder.to(HOME) for encoder in self.text_encoders.values()]

    def make_scheduler(self, name: str, resolution: int) -> Scheduler:
        """Make the named scheduler with the checkpoint's noise levels.

        Raises:
            UserError: the name is unknown, or of another kind of model.
        """
        return make_scheduler(self.scheduler, name, self.image_tokens(resolution), self.flow_walk)

    def latent_size(self, resolution: int) -> int:
        """Return the side of the latents of a square image.

        Args:
            resolution: side of the image, in pixels.

        Raises:
            UserError: the side is not a multiple of what the autoencoder and the denoiser divide it by.
        """
        unit = self.vae_scale_factor * self.latent_multiple
        if resolution < unit or resolution % unit:
            raise UserError(
                f"resolution {resolution} does not fit this model", "resolution", f"choose a multiple of {unit}"
            )
        return resolution // self.vae_scale_factor

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str], resolution: int) -> Conditioning:
        """Encode B prompts for square images of `resolution` pixels, as the stock pipeline does."""
        with visiting(self._waiting, self.device):
            return self._encode_prompts(prompts, resolution)

    def encode_mixtures(self, prompts: Sequence[str], resolution: int, mixtures: TokenMixtures) -> Conditioning:
        """Encode as `encode_prompts` does, with mixtures of tokens in some places, and with the graph of their weights.

        Args:
            prompts: B prompts that hold some token in each of the places.
        """
        with visiting(self._waiting, self.device), mixed_tokens(self.text_encoders.values(), mixtures):
            return self._encode_prompts(prompts, resolution)

    @torch.no_grad()
    def encode_unconditional(self, count: int, resolution: int) -> Conditioning:
        """Return `count` rows of what the stock pipeline guides away from when no negative prompt is given.

        Not always the empty prompt: SDXL's is all zeros.
        """
        with visiting(self._waiting, self.device):
            return self._encode_unconditional(resolution).repeat(count)

    def predict(
        self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float | None = None
    ) -> Tensor:
        """Call the denoiser once.

        Args:
            latents: (B, C, h, w), already scaled for the timestep.
            timesteps: (B,) or a scalar, of the training schedule.
            conditioning: B rows.
            guidance_scale: for a denoiser with embedded guidance; others leave guidance to their caller.

        Returns:
            (B, C, h, w) in the latents' precision, what the scheduler's `prediction_type` says.
        """
        timesteps = timesteps.to(latents.device).expand(len(latents))
        own = conditioning.to(dtype=self.dtype)
        return self._call(latents.to(self.dtype), timesteps, own, guidance_scale).to(latents.dtype)

    def attention_layers(self, patterns: Sequence[str] | None = None) -> dict[str, Any]:
        """The layers whose names match one of the patterns, in the order of the forward pass's definition.

        Args:
            patterns: as `fnmatch` reads them ("up_blocks.*"); None for the family's own choice.

        Raises:
            UserError: no layer in which pixels attend to words has such a name.
        """
        asked = self.attention_layers_by_default if patterns is None else tuple(patterns)
        layers = self.attention_probe.layers(self.denoiser)
        found = {name: layer for name, layer in layers.items() if any(fnmatchcase(name, pattern) for pattern in asked)}
        if not found:
            problem = f"no attention layer of the {self.denoiser_label} is named {' or '.join(asked) or '(nothing)'}"
            raise UserError(problem, "attention_layers", f"its layers are named like {next(iter(layers), '(none)')}")
        return found

    def decode(self, latents: Tensor, *, checkpoint_rows: bool = False) -> Tensor:
        """Decode latents (B, C, h, w) to images (B, 3, H, W), differentiably; see `Autoencoder.decode`."""
        return self.autoencoder.decode(latents, checkpoint_rows=checkpoint_rows)

    def encode_images(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw latents of images (B, 3, H, W) in [0, 1]; see `Autoencoder.encode_images`."""
        return self.autoencoder.encode_images(images, generators)
