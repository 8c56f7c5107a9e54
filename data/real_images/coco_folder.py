"""Real images with captions in COCO's layout: a folder of images, and one JSON file that tells which caption is whose.

The file holds `images`, each with `id` and `file_name`, and `annotations`, each with `image_id` and `caption`.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from comat_core.files.json_files import LARGE, read_json
from comat_core.support.errors import UserError
from data.formats.images import READING, read_image
from data.formats.named_files import check_name, named_file, version_of
from data.real_images.real_pairs import RealPair, caption_text

KIND: Final = "captions file"
ADVICE: Final = "use COCO's captions_*.json, or correct the entry"

ImageId = int | str
Entry = tuple[ImageId, str, tuple[str, ...]]
"""An image's id, file name and captions."""


class CocoFolder:
    """Images in one folder and their captions in one JSON file, both below a root.

    Images without a caption are left out.

    Args:
        root: the data set's folder.
        annotations: path of the captions' file below the root ("annotations/captions_train2014.json").
        images: path of the images' folder below the root ("train2014").

    Raises:
        UserError: the captions' file is missing or of another format, or one of its entries is no entry of COCO's.
    """

    def __init__(self, root: Path, annotations: str, images: str) -> None:
        self.images = root / images
        self.captions = root / annotations
        self.entries = _read_entries(self.captions, version_of(self.captions))

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, index: int) -> RealPair:
        image_id, name, captions = self.entries[index]
        advice = f"complete the download, or take image {image_id} out of {self.captions.name}"
        return RealPair(f"coco:{image_id}", captions, read_image(named_file(self.images, name), advice=advice))

    def identity(self) -> Any:
        # The images' bytes are left out: gigabytes would be read before anything is done. COCO never changes a file.
        return [READING, self.entries]


@lru_cache(maxsize=2)
def _read_entries(path: Path, _version: tuple[int, int] | None) -> list[Entry]:
    """The entries of the images that have captions, sorted by id."""
    content = read_json(path, KIND, shape="object", advice=ADVICE, limits=LARGE)
    files: dict[ImageId, str] = {}
    for image, where in _records(content, "images", path):
        image_id, name = _id_of(image, "id", where), check_name(_text_of(image, "file_name", where), where)
        if files.setdefault(image_id, name) != name:
            problem = f"image id {image_id} stands for two files, {files[image_id]} and {name}"
            raise UserError(problem, where, "give each image an id of its own")
    if len({type(image_id) for image_id in files}) > 1:
        raise UserError("some image ids are numbers, others are texts", str(path), ADVICE)
    captions: dict[ImageId, list[str]] = defaultdict(list)
    for annotation, where in _records(content, "annotations", path):
        image_id = _id_of(annotation, "image_id", where)
        if text := caption_text(_text_of(annotation, "caption", where)):
            captions[image_id].append(text)
    described: list[Any] = [image_id for image_id in files if image_id in captions]
    return [(image_id, files[image_id], tuple(captions[image_id])) for image_id in sorted(described)]


def _records(content: dict[str, Any], name: str, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The records of one of the file's lists, each with where it stands."""
    records = content.get(name)
    if not isinstance(records, list):
        raise UserError(f"not a COCO captions file: it has no list {name!r}", str(path), "use COCO's captions_*.json")
    for number, record in enumerate(records, start=1):
        where = f"{path}, number {number} of {name}"
        if not isinstance(record, dict):
            raise UserError("an entry is no JSON object", where, ADVICE)
        yield record, where


def _id_of(record: dict[str, Any], name: str, where: str) -> ImageId:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UserError(f"an entry has no {name}, a number or text", where, ADVICE)
    return value


def _text_of(record: dict[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise UserError(f"an entry has no text {name}", where, ADVICE)
    return value
