"""Settings of memory and speed on a GPU. None of them is part of a result's key."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from comat_core.settings import Settings

if TYPE_CHECKING:
    from stages.train.config import TrainConfig


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
    shard_base: Annotated[
        bool,
        Field(
            description="spread the weights of denoiser and text encoders over train.processes, and gather each block "
            "for its calls (FSDP2); costs time"
        ),
    ] = False


def check_sharding(config: "TrainConfig") -> None:
    """Make sure that a base can be spread over the processes, if it is to be.

    Every process waits in each of the base's calls for all others, so that they must make the same ones.

    Raises:
        ValueError: it cannot.
    """
    hardware, weights = config.hardware, config.weights
    if not hardware.shard_base:
        return
    through_images = bool(config.rewarded or weights.fidelity)
    projected_alone = config.conflicting_rewards is not None and not weights.fidelity
    problems = {
        "needs processes of 2 or more": config.processes == 1,
        "does not go with hardware.channels_last": hardware.channels_last,
        "does not go with hardware.compile_backend": hardware.compile_backend is not None,
        "does not go with base_quantisation": config.base_quantisation is not None,
        # A graph of attention maps alone ends where the last of them is read, and is there for prompts with entities.
        "needs a reward or fidelity beside attribute concentration": not through_images,
        "with conflicting_rewards needs fidelity beside attribute concentration": (
            projected_alone and weights.attribute_concentration
        ),
        # Real images join at steps of their own, some before the prompts begin.
        "does not go with sampling.start_steps while real images are denoised (mixed_latents, pair_batch_size)": (
            max(config.sampling.start_steps or (0,)) > 0 and config.denoised_pairs > 0
        ),
    }
    found = next((problem for problem, is_there in problems.items() if is_there), None)
    if found is not None:
        raise ValueError(f"hardware.shard_base {found}")
