"""Copies of checkpoints in which something is changed, as a user's or a stranger's may be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"


def copy_of(folder: Path, place: Path) -> Path:
    """Copy a checkpoint's folder to `place`, which does not exist."""
    return Path(shutil.copytree(folder, place))


def change_json(file: Path, **changes: Any) -> None:
    """Set entries of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(file: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Write a safetensors file again with what the function makes of its tensors."""
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without_numbers(file: Path) -> None:
    """Put NaN into every weight."""
    change_weights(file, lambda weights: {name: torch.full_like(value, torch.nan) for name, value in weights.items()})


def in_half_precision_alone(file: Path) -> None:
    """Leave the fp16 variant of a safetensors file in its place."""
    halved = {name: value.half() for name, value in load_file(file).items()}
    save_file(halved, file.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
    file.unlink()


def pickled_alone(file: Path) -> None:
    """Leave torch's own file in the place of a safetensors file, under the name that the libraries give it."""
    name = "pytorch_model.bin" if file.name == "model.safetensors" else "diffusion_pytorch_model.bin"
    torch.save(load_file(file), file.with_name(name))
    file.unlink()
