"""Real images with a right and a wrong caption, in the layout of ARO (Attribution, Relation and Order).

ARO's visual_genome_attribution.json and visual_genome_relation.json are JSON lists of records: `image_path`, below an
images folder; `bbox_x`, `bbox_y`, `bbox_w`, `bbox_h` in pixels, the part of the image that the captions are about;
`true_caption` and `false_caption`. A record without a box is about the whole image, and `false_caption` may be absent.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comat_core.errors import UserError
from data.real_pairs import RealPair, read_image

BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")


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
        self.name = Path(annotations).stem
        self.images = root / images
        self.records = _read_records(root / annotations)

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> RealPair:
        record = self.records[index]
        image = read_image(self.images / record.image)
        if record.box is not None:
            x, y, width, height = record.box
            image = image.crop((round(x), round(y), round(x + width), round(y + height)))
        return RealPair(f"{self.name}:{index}", (record.caption,), image, record.wrong_caption)

    def identity(self) -> Any:
        return [(record.image, record.box, record.caption, record.wrong_caption) for record in self.records]


def _read_records(path: Path) -> list[Record]:
    advice = "use ARO's visual_genome_attribution.json, or a list of that layout"
    try:
        return [_read_record(item) for item in json.loads(path.read_bytes())]
    except FileNotFoundError as error:
        raise UserError("there is no list of captions", str(path), "check folder and annotations") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("not a list of images with captions in ARO's layout", str(path), advice) from error


def _read_record(item: dict[str, Any]) -> Record:
    box = tuple(float(item[name]) for name in BOX) if BOX[0] in item else None
    if box is not None and min(box[2:]) < 1:
        raise ValueError(f"an empty box: {box}")
    wrong = item.get("false_caption")
    return Record(
        str(item["image_path"]), box, " ".join(item["true_caption"].split()), " ".join(wrong.split()) if wrong else None
    )
