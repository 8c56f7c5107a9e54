"""`comat sample`: images of any prompt by a preset's trained model, beside the base model's if wanted."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comat_core.files.whole_files import write_whole
from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset
from flows.command_line.prompts import given_prompts
from stages.plan.presets import load_preset
from stages.store.file_names import fitting_name
from stages.store.local_disk import OUTPUT_ADVICE, check_output_file, disk_errors_told
from stages.store.store import Store
from stages.tuned.comparison import draw_rows
from stages.tuned.tuned_model import find_tuned_model

if TYPE_CHECKING:
    from torch import Tensor


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "sample", sample, "draw images with a preset's trained model")
    add_preset(command)
    command.add_argument(
        "--prompt", action="append", required=True, metavar="TEXT", help="what to draw; again for another row"
    )
    command.add_argument("--compare", action="store_true", help="draw the base model's image on the left")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    command.add_argument("--output", metavar="FILE", help="PNG file (default: PRESET-SEED.png)")


def sample(options: argparse.Namespace) -> int:
    """Draw one row of images per prompt into a PNG file, and print its path."""
    prompts = given_prompts(options)
    tuned = find_tuned_model(load_preset(options.preset, options.settings), Store(options.store))
    output = Path(options.output or fitting_name(tuned.preset, f"-{options.seed}.png"))
    if output.suffix.lower() != ".png":
        raise UserError(f"cannot write {output.name}", "--output", "name a .png file")
    check_output_file("image", output)
    picture = draw_rows(tuned, prompts, options.seed, compare=options.compare)
    _write(picture, output)
    print(output)
    return 0


def _write(picture: "Tensor", output: Path) -> None:
    from stages.images.png import encode_png

    with disk_errors_told("image", output, OUTPUT_ADVICE):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, encode_png(picture))
