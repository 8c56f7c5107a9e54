"""The generated images as evaluations read them, and which models there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError
from stages.images import image_rows
from stages.images.png import DAMAGED
from stages.plan.stage import Inputs
from stages.prompts import tables as prompt_tables
from stages.store.artifacts import Artifact

if TYPE_CHECKING:
    from torch import Tensor

MODELS = ("base", "tuned")
OTHER = "other"
"""Role of further generators, which are evaluated beside the two: "other.name" for each."""
REAL = "real"
"""What real images stand under where a model's name would."""


@dataclass(frozen=True)
class Prompt:
    """A prompt whose images are evaluated."""

    prompt_id: str
    text: str
    skill: str


@dataclass(frozen=True)
class GeneratedImage:
    """One image. `sample` counts a model's images of a prompt; equal samples began from the same noise."""

    prompt_id: str
    sample: int
    png: bytes


def artifacts_by_model(inputs: Inputs) -> dict[str, Artifact]:
    """Model -> its artifact among the inputs: base and tuned, then the others that the preset names."""
    roles = {model: model for model in MODELS} | {
        role.partition(".")[2]: role for role in sorted(inputs) if _is_other(role)
    }
    return {model: inputs[role] for model, role in roles.items() if role in inputs}


def _is_other(role: str) -> bool:
    kind, *name = role.split(".")
    return kind == OTHER and len(name) == 1


def read_part(images: Artifact, part: str, split: str | None = None) -> list[GeneratedImage]:
    """The images of one part.

    Args:
        split: leave out images of other splits.
    """
    rows = image_rows.read_images(images, part, split)
    return [GeneratedImage(row.prompt_id, row.sample, row.png) for row in rows]


def read_prompts(prompts: Artifact, split: str) -> dict[str, Prompt]:
    """The prompts of a split by their ids."""
    rows = prompt_tables.read_prompts(prompts, [split])
    return {row.prompt_id: Prompt(row.prompt_id, row.text, row.skill) for row in rows}


def read_seen_in_training(prompts: Artifact) -> set[str]:
    """Ids of the evaluation prompts that the training sources hold."""
    return {prompt.prompt_id for prompt in prompt_tables.read_seen_in_training(prompts)}


def decode_images(images: Sequence[bytes]) -> "Tensor":
    """Decode B PNG files of one size to a tensor (B, 3, H, W) in [0, 1].

    Raises:
        UserError: one is damaged.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_image

    files = (torch.frombuffer(bytearray(png), dtype=torch.uint8) for png in images)
    try:
        pixels = [decode_image(file, ImageReadMode.RGB) for file in files]
    except (RuntimeError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"the image cannot be decoded: {problem}", "an image in the store", DAMAGED) from error
    return torch.stack(pixels).float() / 255
