"""The generated images as evaluations read them: part by part, base and tuned side by side."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from stages.artifacts import Artifact
from stages.stage import Inputs

if TYPE_CHECKING:
    from torch import Tensor

MODELS = ("base", "tuned")


@dataclass(frozen=True)
class Prompt:
    """A prompt whose images are evaluated."""

    prompt_id: str
    text: str
    skill: str


@dataclass(frozen=True)
class GeneratedImage:
    """One image of one model. `sample` counts the images of a prompt; equal samples began from the same noise."""

    model: str
    prompt_id: str
    sample: int
    png: bytes


def image_parts(inputs: Inputs) -> list[str]:
    """The Parquet files that hold the images, the same for both models."""
    base, tuned = (inputs[model].files("images/") for model in MODELS)
    assert base == tuned, "both models' images come in the same parts"
    return base


def read_part(inputs: Inputs, part: str, split: str) -> list[GeneratedImage]:
    """The images of one part whose prompts are of the given split: all of the base model, then all of the tuned one."""
    images = [_read(inputs[model], model, part, split) for model in MODELS]
    identities = [[(image.prompt_id, image.sample) for image in one_model] for one_model in images]
    assert identities[0] == identities[1], "both models' images stand in the same order"
    return [*images[0], *images[1]]


def read_prompts(prompts: Artifact, split: str) -> dict[str, Prompt]:
    """The prompts of a split by their ids."""
    table = prompts.read_table("prompts.parquet")
    rows = table.filter(pc.field("split") == split).select(["prompt_id", "text", "skill"]).to_pylist()
    return {row["prompt_id"]: Prompt(**row) for row in rows}


def decode_images(images: Sequence[bytes]) -> "Tensor":
    """Decode B PNG files of one size to a tensor (B, 3, H, W) in [0, 1]."""
    import numpy as np
    import torch
    from PIL import Image

    arrays = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def _read(artifact: Artifact, model: str, part: str, split: str) -> list[GeneratedImage]:
    table: pa.Table = artifact.read_table(part)
    rows = table.filter(pc.field("split") == split).select(["prompt_id", "sample", "png"]).to_pylist()
    return [GeneratedImage(model=model, **row) for row in rows]
