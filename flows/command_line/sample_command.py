"""`comat sample`: images of any prompt by a preset's trained model, beside the base model's if wanted."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError
from data.readers import LONGEST_PROMPT
from stages.plan.presets import load_preset
from stages.store.local_disk import disk_errors_told, write_whole
from stages.store.store import Store
from stages.tuned.comparison import draw_rows
from stages.tuned.tuned_model import find_tuned_model

if TYPE_CHECKING:
    from torch import Tensor


def sample(options: argparse.Namespace) -> int:
    """Draw one row of images per prompt into a PNG file, and print its path."""
    prompts: list[str] = options.prompt
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("a prompt is empty", "--prompt", "write what the image shall show")
    if max(map(len, prompts)) > LONGEST_PROMPT:
        raise UserError(f"a prompt has more than {LONGEST_PROMPT:,} characters", "--prompt", "write a shorter one")
    tuned = find_tuned_model(load_preset(options.preset, options.settings), Store(options.store))
    output = Path(options.output or f"{tuned.preset}-{options.seed}.png")
    if output.suffix.lower() != ".png":
        raise UserError(f"cannot write {output.name}", "--output", "name a .png file")
    picture = draw_rows(tuned, prompts, options.seed, compare=options.compare)
    _write(picture, output)
    print(output)
    return 0


def _write(picture: "Tensor", output: Path) -> None:
    from stages.images.png import encode_png

    with disk_errors_told("image", output, "choose another --output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, encode_png(picture))
