"""A tiny model of open_clip's own class, saved as the published files are."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.deterministic_weights import fill_with_noise

ARCHITECTURE = "comat-tiny"
SIDE = 32
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def tiny_open_clip(folder: Path) -> Any:
    """Make the architecture known to open_clip, and return a model of it."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{ARCHITECTURE}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{ARCHITECTURE}.json")
    return fill_with_noise(open_clip.create_model(ARCHITECTURE, load_weights=False), seed=9).eval()


def save_tiny_open_clip(folder: Path, file: str = "tiny.pt") -> str:
    """Save it as HPS v2.1 is published, a dictionary with the state dict in it, or as safetensors."""
    weights = tiny_open_clip(folder).state_dict()
    if file.endswith(".safetensors"):
        save_file(weights, folder / file)
    else:
        torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, folder / file)
    return str(folder / file)
