"""States on the way of the reference trajectories, kept beside the latents where these end.

A shard's file `states/00000.safetensors` holds for each kept step a tensor (N, C, h, w) in float32, named by the step's
number: what the walk begins that step with, in the rows of the shard's latents.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from comat_core.support.errors import UserError
from stages.latents.tables import INDEX, IndexRow
from stages.store.artifacts import Artifact, ArtifactWriter
from stages.store.latent_shards import shard_file
from stages.store.typed_tables import read_rows

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


@dataclass(frozen=True)
class ReferenceStates:
    """The kept states of all training prompts, at some of the steps."""

    steps: tuple[int, ...]
    rows: Mapping[str, IndexRow]
    """By prompt."""
    shards: "Mapping[str, Mapping[int, Tensor]]"
    """File of the latents -> step -> (N, C, h, w)."""

    @classmethod
    def read(cls, latents: Artifact, steps: Collection[int]) -> "ReferenceStates":
        """Read the states at the given steps.

        Raises:
            UserError: one was not kept.
            DamagedArtifactError: a file is not the one that the stage wrote.
        """
        rows = {row.prompt_id: row for row in read_rows(latents, INDEX, IndexRow)}
        shards: dict[str, Mapping[int, Tensor]] = {}
        present = set(latents.files(FOLDER))
        for shard in sorted({row.shard for row in rows.values()}):
            file = _state_file(shard)
            found = latents.read_tensors(file) if file in present else {}
            missing = sorted(step for step in steps if str(step) not in found)
            if missing:
                problem = f"the reference latents hold no states of step {missing[0]}"
                raise UserError(problem, "train.sampling.start_steps", f"add {missing[0]} to latents.kept_steps")
            shards[shard] = {step: found[str(step)] for step in steps}
        return cls(tuple(sorted(steps)), rows, shards)

    def of(self, prompt_ids: Sequence[str]) -> "dict[int, Tensor]":
        """Step -> states (B, C, h, w) of B prompts."""
        import torch

        rows = [self.rows[prompt_id] for prompt_id in prompt_ids]
        return {step: torch.stack([self.shards[row.shard][step][row.row] for row in rows]) for step in self.steps}


def _state_file(shard: str) -> str:
    """The file with the states of a file of latents."""
    return f"{FOLDER}{PurePosixPath(shard).name}"
