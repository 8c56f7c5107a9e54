"""Images as files in T2I-CompBench's layout: `<prompt>_<6 digits>.png`, the number running over the whole set.

Its scripts take a file's prompt from the name, up to the first underscore. Prompts that no file can be named after
stand in a list of the images: see `stages.images.image_manifests`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from comat_core.files.paths import folder_exists
from comat_core.support.errors import UserError, shortened
from stages.images.image_manifests import CSV, find_manifest, read_manifest, write_manifest
from stages.images.image_rows import image_parts, read_images
from stages.models.folder_files import files_below
from stages.prompts.cleaning import normalise
from stages.store.artifacts import Artifact

SAMPLES = "samples"
"""The benchmark's folder of images, beside which its scripts put depth maps and boxes of the same names."""
DIGITS = 6
LONGEST_NAME = 255  # bytes, on every usual file system
NUMBER = re.compile(f"[0-9]{{{DIGITS}}}")
UNFIT = "/\\_\0"


def file_name(prompt: str, number: int) -> str:
    """The name of a prompt's image.

    Args:
        number: how many images stand before it in the set.

    Raises:
        UserError: the layout has no name for such a prompt.
    """
    name = _name(prompt, number)
    unfit = sorted(set(UNFIT) & set(prompt))
    if unfit:
        problem = f"{unfit[0]!r} in a prompt cannot be part of a file's name"
    elif len(name.encode()) > LONGEST_NAME:
        problem = f"a prompt of {len(prompt.encode()):,} bytes is too long for a file's name"
    else:
        return name
    advice = "choose a set of prompts that fit into file names, such as --split test, or add --manifest"
    raise UserError(problem, shortened(prompt), advice)


def read_folder(folder: Path, images: Sequence[dict[str, Any]]) -> list[Path]:
    """Find the file of every image.

    The files of a prompt are taken in the order of their numbers, or of the folder's list of images if it has one;
    where a prompt stands several times in a set, its first images go to the first of them. Files of other prompts do
    not matter; folders inside are read too, but where there are any called samples, nothing beside those.

    Args:
        images: (prompt_id, text, split, sample) of all images of a set.

    Raises:
        UserError: an image is missing, or two files stand for one; or the list cannot be read.
    """
    texts = [normalise(image["text"]) for image in images]
    manifest = find_manifest(folder)
    files = _files_by_prompt(folder, set(texts)) if manifest is None else read_manifest(manifest)
    taken: Counter[str] = Counter()
    found = []
    for text in texts:
        of_prompt, number = files.get(text, []), taken[text]
        taken[text] += 1
        if number >= len(of_prompt):
            wanted = f"image {number + 1} of the prompt {shortened(text)!r} is missing"
            raise UserError(wanted, str(manifest or folder), _way_to_add(text, manifest))
        found.append(of_prompt[number])
    return found


def write_folder(folder: Path, drawn: Artifact, texts: Mapping[str, str], *, with_manifest: bool = False) -> int:
    """Write an images artifact's files, numbered in its order, and return how many.

    Args:
        folder: an empty folder.
        texts: prompt id -> text of the prompts whose images are wanted.
        with_manifest: name the files by their numbers alone, and write a list that tells their prompts.

    Raises:
        UserError: the layout has no name for one of the prompts.
    """
    if not with_manifest:
        for text in texts.values():
            file_name(text, 0)  # all of them are checked before anything is written
    written: list[tuple[str, str]] = []
    for part in image_parts(drawn):
        for row in read_images(drawn, part):
            if row.prompt_id in texts:
                text, number = texts[row.prompt_id], len(written)
                name = f"{number:0{DIGITS}d}.png" if with_manifest else file_name(text, number)
                (folder / name).write_bytes(row.png)
                written.append((text, name))
    if with_manifest:
        write_manifest(folder, written)
    return len(written)


def _files_by_prompt(folder: Path, prompts: Container[str]) -> dict[str, list[Path]]:
    """Prompt -> its images' files in the order of their numbers, for some prompts.

    Raises:
        UserError: two files have one prompt and number.
    """
    numbered: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in _image_files(folder):
        name, underscore, number = path.stem.rpartition("_")
        prompt = normalise(name)
        if not underscore or not NUMBER.fullmatch(number) or prompt not in prompts:
            continue
        first = numbered[prompt].setdefault(number, path)
        if first != path:
            problem = f"two files stand for one image, {first.relative_to(folder)} and {path.relative_to(folder)}"
            advice = f"name a folder with the images of one generator alone, or list them in a {CSV} there"
            raise UserError(problem, str(folder), advice)
    return {prompt: [path for _, path in sorted(files.items())] for prompt, files in numbered.items()}


def _image_files(folder: Path) -> list[Path]:
    samples = folder / SAMPLES
    found = files_below(samples if folder_exists(samples) else folder)
    files = sorted(path for path in found if path.suffix.lower() == ".png")
    inside = [path for path in files if SAMPLES in path.relative_to(folder).parts[:-1]]
    return inside or files


def _name(prompt: str, number: int) -> str:
    return f"{prompt}_{number:0{DIGITS}d}.png"


def _way_to_add(prompt: str, manifest: Path | None) -> str:
    if manifest is not None:
        return "add its prompt and its file"
    listing = f"list all images in a {CSV} there, with the columns prompt and file"
    if "/" in prompt or len(_name(prompt, 0).encode()) > LONGEST_NAME:
        return f"no file can be called so: {listing}"
    return f"put it there as <prompt>_<{DIGITS} digits>.png, or {listing}"
