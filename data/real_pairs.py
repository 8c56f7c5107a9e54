"""Real images with captions: a folder in COCO's layout, WebDataset shards, or the miniature world's own scenes.

Each kind is a `PairSource`; pairs are numbered, and any of them can be read alone.
"""

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from PIL import Image, UnidentifiedImageError

from comat_core.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class RealPair:
    """One image (RGB, any size) with one or more captions, and a wrong one where the source has it."""

    pair_id: str
    captions: tuple[str, ...]
    image: Image.Image
    wrong_caption: str | None = None


class PairSource(Protocol):
    """Numbered pairs."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> RealPair:
        """Read pair number `index`.

        Raises:
            UserError: its image is missing or cannot be decoded.
        """
        ...

    def identity(self) -> Any:
        """A JSON value that changes when the pairs do, wherever they lie."""
        ...


class CocoFolder:
    """Images in one folder and their captions in one JSON file, both below a root.

    Images without a caption are left out.

    Args:
        root: the data set's folder.
        annotations: path of the captions' file below the root ("annotations/captions_train2014.json").
        images: path of the images' folder below the root ("train2014").

    Raises:
        UserError: the captions' file is missing or of another format.
    """

    def __init__(self, root: Path, annotations: str, images: str) -> None:
        self.images = root / images
        self.entries = _read_coco_entries(root / annotations)

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, index: int) -> RealPair:
        image_id, file_name, captions = self.entries[index]
        return RealPair(f"coco:{image_id}", captions, read_image(self.images / file_name))

    def identity(self) -> Any:
        # The images' bytes are left out: gigabytes would be read before anything is done. COCO never changes a file.
        return self.entries


class WebDatasetShards:
    """Tar files in one folder; in each, files of one stem belong together: an image and its .txt or .json caption.

    Raises:
        UserError: there is no tar file, or one cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.files = sorted(root.glob("*.tar"))
        if not self.files:
            raise UserError("no .tar file", str(root), "name the folder of the WebDataset shards")

    @cached_property
    def samples(self) -> list[tuple[Path, str, tarfile.TarInfo, tarfile.TarInfo]]:
        """(tar file, stem, image member, caption member), in the order of the files."""
        return [(file, *sample) for file in self.files for sample in _index_tar(file)]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> RealPair:
        file, stem, image, caption = self.samples[index]
        with tarfile.open(file) as archive:
            captions = _captions_of(_member(archive, caption), f"{file}, {caption.name}")
            decoded = _decoded(_member(archive, image), f"{file}, {image.name}")
        return RealPair(f"{file.stem}:{stem}", captions, decoded)

    def identity(self) -> Any:
        return [
            (file.name, stem, image.name, image.size, caption.name, caption.size)
            for file, stem, image, caption in self.samples
        ]


class MiniatureWorld:
    """Scenes of the base world with captions that leave nothing out.

    Args:
        seed: of the world.
        count: how many pairs there are.
        side: of an image in pixels.
        split: "train", or "validation" for pairs that no training sees.

    Raises:
        UserError: the world's images have another size.
    """

    def __init__(self, seed: int, count: int, side: int, split: str = "train") -> None:
        from data.miniature_world.vocabulary import IMAGE_SIZE

        if side != IMAGE_SIZE:
            advice = f"set resolution to {IMAGE_SIZE}, or name a folder of real images"
            raise UserError(f"the miniature world has no images of {side} px", "pairs", advice)
        self.seed = seed
        self.count = count
        self.split = split

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> RealPair:
        from data.miniature_world.pairs import base_world_pair

        image, caption = base_world_pair(self.seed, self.split, index)
        return RealPair(f"miniature:{index}", (caption,), Image.fromarray(image))

    def identity(self) -> Any:
        return [self.seed, self.count]


def read_image(path: Path) -> Image.Image:
    """Read an image file as RGB.

    Raises:
        UserError: it is missing or cannot be decoded.
    """
    if not path.is_file():
        raise UserError("the image is missing", str(path), "complete the download, or name another images folder")
    return _decoded(path.read_bytes(), str(path))


@lru_cache(maxsize=2)
def _read_coco_entries(path: Path) -> list[tuple[int, str, tuple[str, ...]]]:
    """(image id, file name, captions), sorted by id."""
    try:
        content = json.loads(path.read_bytes())
        captions: dict[int, list[str]] = defaultdict(list)
        for annotation in content["annotations"]:
            if text := " ".join(annotation["caption"].split()):
                captions[annotation["image_id"]].append(text)
        files = {image["id"]: image["file_name"] for image in content["images"]}
    except FileNotFoundError as error:
        raise UserError("there is no captions file", str(path), "check pairs.folder and pairs.annotations") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("not a COCO captions file", str(path), "use COCO's captions_*.json") from error
    return [(image_id, files[image_id], tuple(captions[image_id])) for image_id in sorted(files) if captions[image_id]]


@lru_cache(maxsize=4096)
def _index_tar(file: Path) -> list[tuple[str, tarfile.TarInfo, tarfile.TarInfo]]:
    try:
        with tarfile.open(file) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise UserError("the tar file cannot be read", str(file), "download it again") from error
    samples: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
    for member in members:
        path = PurePosixPath(member.name)
        stem, _, suffix = path.name.partition(".")  # WebDataset: a sample's name ends at the first dot
        samples[str(path.with_name(stem))][f".{suffix.lower()}"] = member
    indexed = []
    for stem, parts in samples.items():
        image = next((parts[suffix] for suffix in parts if suffix in IMAGE_SUFFIXES), None)
        caption = parts.get(".txt") or parts.get(".json")
        if image is not None and caption is not None:
            indexed.append((stem, image, caption))
    return indexed


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "only regular files are indexed"
    return file.read()


def _captions_of(content: bytes, where: str) -> tuple[str, ...]:
    advice = "write the caption as UTF-8 text, or as JSON with a field caption"
    try:
        text = content.decode("utf-8")
        value = json.loads(text)["caption"] if where.endswith(".json") else text
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("the caption cannot be read", where, advice) from error
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, Sequence) or not captions or not all(isinstance(text, str) for text in captions):
        raise UserError("the caption is no text", where, advice)
    return tuple(" ".join(text.split()) for text in captions)


def _decoded(content: bytes, where: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError("the image cannot be decoded", where, "download it again, or remove it") from error
