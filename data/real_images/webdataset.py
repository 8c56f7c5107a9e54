"""Real images with captions in WebDataset shards: tar files in which files of one name, up to its first dot, belong
together, an image and its .txt or .json caption.
"""

import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from comat_core.files.json_files import parse_json
from comat_core.files.text_files import decode_text
from comat_core.support.errors import UserError
from data.formats.images import READING, SUFFIXES, decode_image
from data.formats.named_files import version_of
from data.formats.tar_members import TarArchive, opened_tar
from data.real_images.real_pairs import RealPair, caption_text

CAPTION_SUFFIXES: Final = (".txt", ".json")
"""The first one that a sample has is its caption."""

ADVICE: Final = "write the caption as UTF-8 text, or as JSON with a field caption"


@dataclass(frozen=True)
class Sample:
    """An image in a tar file with its captions."""

    tar: Path
    name: str
    image: tarfile.TarInfo
    captions: tuple[str, ...]


class WebDatasetShards:
    """The samples of all tar files in one folder, in the order of the files. Those without a caption are left out.

    Raises:
        UserError: there is no tar file, one cannot be read, or a caption in it is none.
    """

    def __init__(self, root: Path) -> None:
        self.files = sorted(file for file in root.glob("*.tar") if not file.name.startswith("."))
        if not self.files:
            raise UserError("no .tar file", str(root), "name the folder of the WebDataset shards")

    @cached_property
    def samples(self) -> list[Sample]:
        return [sample for file in self.files for sample in _index(file, version_of(file))]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> RealPair:
        sample = self.samples[index]
        with opened_tar(sample.tar) as archive:
            content = archive.read(sample.image)
        advice = "download the tar file again, or write it anew without this image"
        image = decode_image(content, f"{sample.tar}, {sample.image.name}", advice=advice)
        return RealPair(f"{sample.tar.stem}:{sample.name}", sample.captions, image)

    def identity(self) -> Any:
        described = [
            (sample.tar.name, sample.name, sample.image.name, sample.image.size, sample.captions)
            for sample in self.samples
        ]
        return [READING, described]


@lru_cache(maxsize=4096)
def _index(file: Path, _version: tuple[int, int] | None) -> list[Sample]:
    with opened_tar(file) as archive:
        return [
            Sample(file, name, image, captions)
            for name, parts in _parts_of_samples(archive.members(), file).items()
            if (image := _first(parts, [suffix for suffix in parts if suffix in SUFFIXES])) is not None
            and (caption := _first(parts, CAPTION_SUFFIXES)) is not None
            and (captions := _captions_of(archive, caption, file))
        ]


def _parts_of_samples(members: Sequence[tarfile.TarInfo], file: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Name of a sample -> its members by their suffix, images and captions alone."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
    for member in members:
        path = PurePosixPath(member.name)
        stem, _, ending = path.name.partition(".")
        suffix = f".{ending.lower()}"
        if not stem or (suffix not in SUFFIXES and suffix not in CAPTION_SUFFIXES):
            continue
        parts = samples[str(path.with_name(stem))]
        if suffix in parts:
            raise UserError(f"two members are called {member.name!r}", str(file), "write the tar file anew")
        parts[suffix] = member
    return samples


def _first(parts: Mapping[str, tarfile.TarInfo], suffixes: Sequence[str]) -> tarfile.TarInfo | None:
    return next((parts[suffix] for suffix in suffixes if suffix in parts), None)


def _captions_of(archive: TarArchive, member: tarfile.TarInfo, file: Path) -> tuple[str, ...]:
    """The captions that are not empty.

    Raises:
        UserError: the member holds no caption at all.
    """
    content, where = archive.read(member), f"{file}, {member.name}"
    if member.name.lower().endswith(".json"):
        value = parse_json(content, "caption", where, shape="object", advice=ADVICE).get("caption")
    else:
        value = decode_text(content, "caption", where, advice=ADVICE)
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise UserError("the caption is no text", where, ADVICE)
    return tuple(text for caption in captions if (text := caption_text(caption)))
