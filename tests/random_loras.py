"""Stand-ins for what a training delivers."""

from pathlib import Path

import torch

from comat_core.backbones.adapters import add_lora, lora_parameters, save_lora
from comat_core.backbones.loading import load_backbone
from comat_core.support.randomness import make_generator


def save_random_lora(base: Path, folder: Path, *, scale: float = 1.0, seed: int = 0) -> Path:
    """Write a LoRA of random weights for a checkpoint."""
    model = load_backbone(base)
    add_lora(model, "tuned", rank=2, seed=0)
    with torch.no_grad():
        for index, parameter in enumerate(lora_parameters(model.denoiser, "tuned")):
            noise = torch.randn(parameter.shape, generator=make_generator(seed, "test LoRA", index))
            parameter.copy_(scale * noise)
    save_lora(model, folder, "tuned")
    return folder
