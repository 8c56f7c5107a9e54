"""Real images with a right and a wrong caption, in the layout of ARO (Attribution, Relation and Order).

ARO's visual_genome_attribution.json and visual_genome_relation.json are JSON lists of records: `image_path`, below an
images folder; `bbox_x`, `bbox_y`, `bbox_w`, `bbox_h` in pixels, the part of the image that the captions are about;
`true_caption` and `false_caption`. A record without a box is about the whole image, and `false_caption` may be absent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from comat_core.files.json_files import LARGE, read_json
from comat_core.support.errors import UserError
from data.formats.images import READING, read_image
from data.formats.named_files import check_name, named_file
from data.real_images.real_pairs import RealPair, caption_text

BOX: Final = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
ADVICE: Final = "use ARO's visual_genome_attribution.json, or correct the record"


@dataclass(frozen=True)
class Record:
    """One line of the list; the box is (x, y, width, height) in pixels."""

    image: str
    box: tuple[float, ...] | None
    caption: str
    wrong_caption: str | None


class AroList:
    """A `PairSource` of such a list.

    Args:
        root: the data set's folder.
        annotations: path of the list below the root ("visual_genome_attribution.json").
        images: path of the images' folder below the root ("images").

    Raises:
        UserError: the list is missing or of another format.
    """

    def __init__(self, root: Path, annotations: str, images: str) -> None:
        self.list = root / annotations
        self.images = root / images
        self.records = _read_records(self.list)

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> RealPair:
        record, where = self.records[index], _place(self.list, index)
        advice = f"complete the download, or take record {index + 1} out of {self.list.name}"
        image = read_image(named_file(self.images, record.image), advice=advice)
        if record.box is not None:
            image = _cut_out(image, record.box, where)
        return RealPair(f"{self.list.stem}:{index}", (record.caption,), image, record.wrong_caption)

    def identity(self) -> Any:
        records = [(record.image, record.box, record.caption, record.wrong_caption) for record in self.records]
        return [READING, records]


def _cut_out(image: Image.Image, box: tuple[float, ...], where: str) -> Image.Image:
    """The part of an image that lies in a box; what of the box lies outside is no part of it.

    Raises:
        UserError: nothing of it lies inside.
    """
    x, y, width, height = box
    left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
    inside = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        problem = f"the box ({left}, {top}) to ({right}, {bottom}) lies outside of its image"
        raise UserError(f"{problem} of {image.width} x {image.height} px", where, "correct the box or the image's name")
    return image.crop(inside)


def _read_records(path: Path) -> list[Record]:
    content = read_json(path, "list of captions", shape="list", advice=ADVICE, limits=LARGE)
    return [_read_record(item, _place(path, index)) for index, item in enumerate(content)]


def _place(path: Path, index: int) -> str:
    return f"{path}, record {index + 1}"


def _read_record(item: Any, where: str) -> Record:
    if not isinstance(item, dict):
        raise UserError("a record is no JSON object", where, ADVICE)
    image = check_name(_text_of(item, "image_path", where), where)
    caption = caption_text(_text_of(item, "true_caption", where))
    if not caption:
        raise UserError("the true_caption is empty", where, ADVICE)
    wrong = None if item.get("false_caption") is None else caption_text(_text_of(item, "false_caption", where))
    return Record(image, _box_of(item, where), caption, wrong or None)


def _text_of(item: dict[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise UserError(f"a record has no text {name}, so the list is not in ARO's layout", where, ADVICE)
    return value


def _box_of(item: dict[str, Any], where: str) -> tuple[float, ...] | None:
    sides = [item.get(name) for name in BOX]
    if all(side is None for side in sides):
        return None
    numbers = tuple(float(side) for side in sides if isinstance(side, int | float) and not isinstance(side, bool))
    if len(numbers) < len(BOX):
        raise UserError(f"a box needs four numbers, {', '.join(BOX)}", where, ADVICE)
    if min(numbers[2:]) < 1:
        raise UserError(f"an empty box, {numbers[2]:g} x {numbers[3]:g} px", where, ADVICE)
    return numbers
