"""Settings of memory and speed on a GPU. None of them is part of a result's key."""

from typing import Annotated

from pydantic import Field

from comat_core.settings import Settings


class HardwareSettings(Settings):
    """How the models of a training run are laid out in memory and executed."""

    channels_last: Annotated[
        bool, Field(description="keep denoiser and autoencoder in the memory format that convolutions like best")
    ] = False
    compile_backend: Annotated[
        str | None,
        Field(min_length=1, description="torch.compile the denoiser's transformer blocks (inductor, ...), or do not"),
    ] = None
    offload: Annotated[
        bool,
        Field(description="keep captioner, rewards, segmenter and text encoders on the CPU between calls; costs time"),
    ] = False
    recompute_blocks: Annotated[
        bool, Field(description="keep the inputs of the denoiser's blocks alone for the backward pass; costs time")
    ] = False
