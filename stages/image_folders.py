"""Images as files in T2I-CompBench's layout: `<prompt>_<6 digits>.png`, the number running over the whole set.

Its scripts take a file's prompt from the name, up to the first underscore.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comat_core.errors import UserError
from stages.artifacts import Artifact
from stages.folder_files import files_below

DIGITS = 6
LONGEST_NAME = 255  # bytes, on every usual file system
UNFIT = "/\\_\0"


def file_name(prompt: str, number: int) -> str:
    """The name of a prompt's image.

    Args:
        number: how many images stand before it in the set.

    Raises:
        UserError: the layout has no name for such a prompt.
    """
    name = f"{prompt}_{number:0{DIGITS}d}.png"
    unfit = sorted(set(UNFIT) & set(prompt))
    if unfit:
        problem = f"{unfit[0]!r} in a prompt cannot be part of a file's name"
    elif len(name.encode()) > LONGEST_NAME:
        problem = f"a prompt of {len(prompt.encode()):,} bytes is too long for a file's name"
    else:
        return name
    raise UserError(
        problem, _shortened(prompt), "choose a set of prompts that fit into file names, such as --split test"
    )


def read_folder(folder: Path, images: Sequence[dict[str, Any]]) -> list[Path]:
    """Find the file of every image.

    The files of a prompt are taken in the order of their numbers; where a prompt stands several times in a set, its
    first images go to the first of them. Files of other prompts do not matter; folders inside are read too.

    Args:
        images: (prompt_id, text, split, sample) of all images of a set.

    Raises:
        UserError: an image is missing.
    """
    files = _files_by_prompt(path for path in files_below(folder) if path.suffix == ".png")
    taken: Counter[str] = Counter()
    found = []
    for image in images:
        of_prompt, number = files[image["text"]], taken[image["text"]]
        taken[image["text"]] += 1
        if number >= len(of_prompt):
            wanted = f"image {number + 1} of the prompt {_shortened(image['text'])!r} is missing"
            raise UserError(wanted, str(folder), f"put it there as <prompt>_<{DIGITS} digits>.png")
        found.append(of_prompt[number])
    return found


def write_folder(folder: Path, drawn: Artifact, texts: Mapping[str, str]) -> int:
    """Write an images artifact's files, numbered in its order, and return how many.

    Args:
        folder: an empty folder.
        texts: prompt id -> text of the prompts whose images are wanted.

    Raises:
        UserError: the layout has no name for one of the prompts.
    """
    for text in texts.values():
        file_name(text, 0)  # all of them are checked before anything is written
    number = 0
    for part in drawn.files("images/"):
        for row in drawn.read_table(part).select(["prompt_id", "png"]).to_pylist():
            if row["prompt_id"] in texts:
                (folder / file_name(texts[row["prompt_id"]], number)).write_bytes(row["png"])
                number += 1
    return number


def _files_by_prompt(paths: Iterable[Path]) -> dict[str, list[Path]]:
    numbered: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for path in paths:
        prompt, underscore, number = path.stem.rpartition("_")
        if underscore and len(number) == DIGITS and number.isdigit():
            numbered[" ".join(prompt.split())].append((number, path))
    return defaultdict(list, {prompt: [path for _, path in sorted(files)] for prompt, files in numbered.items()})


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
