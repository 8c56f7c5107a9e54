"""States on the way of the reference trajectories, kept beside the latents where these end.

A shard's file `states/00000.safetensors` holds for each kept step a tensor (N, C, h, w) in float32, named by the step's
number: what the walk begins that step with, in the rows of the shard's latents.
"""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from comat_core.support.errors import UserError
from stages.store.artifact_writer import ArtifactWriter
from stages.store.latent_shards import Place, read_row, shard_file
from stages.store.local_files import LocalFiles

if TYPE_CHECKING:
    from torch import Tensor

FOLDER: Final = "states/"


class KeptStates:
    """Collects the states of one shard while its batches are denoised."""

    def __init__(self, steps: Collection[int]) -> None:
        """Keep what these steps begin with."""
        self._batches: dict[int, list[Tensor]] = {step: [] for step in sorted(steps)}

    def after_step(self, step: int, timestep: int, latents: "Tensor") -> None:
        """Take the latents (B, C, h, w) that a step ends with; see `denoise`."""
        del timestep
        if step + 1 in self._batches:
            self._batches[step + 1].append(latents)

    def write(self, writer: ArtifactWriter, shard: int) -> None:
        """Write the states of the shard, if any are kept."""
        import torch

        if self._batches:
            states = {str(step): torch.cat(batches) for step, batches in self._batches.items()}
            writer.write_tensors(_state_file(shard_file(shard)), states)


class ReferenceStates:
    """The kept states of training prompts at some of the steps, of which only those that are asked for are read.

    Args:
        files: of the latents' artifact.
        steps: none need no states.

    Raises:
        UserError: a step's were not kept.
        DamagedArtifactError: a file is not the one that the stage wrote.
    """

    def __init__(self, files: LocalFiles, steps: Collection[int]) -> None:
        self.steps = tuple(sorted(steps))
        self._files = files
        if self.steps:
            self._check()

    def of(self, places: Sequence[Place]) -> "dict[int, Tensor]":
        """Step -> states (B, C, h, w) of the walks whose ends lie at B places."""
        import torch

        return {
            step: torch.stack(
                [read_row(self._files, _state_file(place.shard), str(step), place.row) for place in places]
            )
            for step in self.steps
        }

    def _check(self) -> None:
        """One shard tells of all: they are written by one config."""
        from safetensors import safe_open

        kept: set[str] = set()
        written = sorted(self._files.artifact.files(FOLDER))
        if written:
            with safe_open(self._files.path(written[0]), framework="pt") as shard:
                kept = set(shard.keys())
        missing = [step for step in self.steps if str(step) not in kept]
        if missing:
            problem = f"the reference latents hold no states of step {missing[0]}"
            raise UserError(problem, "train.sampling.start_steps", f"add {missing[0]} to latents.kept_steps")


def _state_file(shard: str) -> str:
    """The file with the states of a file of latents."""
    return f"{FOLDER}{PurePosixPath(shard).name}"
