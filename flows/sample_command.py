"""`comat sample`: images of any prompt by a preset's trained model, beside the base model's if wanted."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from comat_core.errors import UserError
from stages.presets import load_preset
from stages.sampling import sample_latents, sampling_model
from stages.store import Store
from stages.tuned_model import TunedModel, find_tuned_model

if TYPE_CHECKING:
    from torch import Tensor


def sample(options: argparse.Namespace) -> int:
    """Draw one row of images per prompt into a PNG file, and print its path."""
    tuned = find_tuned_model(load_preset(options.preset, options.settings), Store(options.store))
    output = Path(options.output or f"{tuned.preset}-{options.seed}.png")
    if output.suffix.lower() != ".png":
        raise UserError(f"cannot write {output.name}", "--output", "name a .png file")
    prompts: list[str] = options.prompt
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("a prompt is empty", "--prompt", "write what the image shall show")
    picture = _draw(tuned, prompts, options.seed, compare=options.compare)
    _write(picture, output)
    print(output)
    return 0


def _draw(tuned: TunedModel, prompts: list[str], seed: int, *, compare: bool) -> "Tensor":
    """Return one picture (3, H, W): a row per prompt, and with `compare` the base model's image on the left."""
    import torch

    from comat_core.adapters import active_adapter
    from comat_core.randomness import derive_seed

    config, columns = tuned.sampling, []
    seeds = [derive_seed(seed, "sample", number) for number in range(len(prompts))]
    with torch.no_grad(), sampling_model(config, tuned.artifacts, config.vae) as model:
        if compare:
            with active_adapter(model.unet, None):
                columns.append(model.decode(sample_latents(model, config, prompts, seeds)))
        columns.append(model.decode(sample_latents(model, config, prompts, seeds)))
    rows = [torch.cat(row, dim=-1) for row in zip(*columns, strict=True)]
    return torch.cat(rows, dim=-2)


def _write(picture: "Tensor", output: Path) -> None:
    from stages.png import encode_png

    unfinished = output.with_suffix(".partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(encode_png(picture))
        unfinished.replace(output)
    except OSError as error:
        raise UserError(f"cannot write the image: {error.strerror}", str(output), "choose another --output") from error
