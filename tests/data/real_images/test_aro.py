"""ARO's lists: the part of the image that a record is about, and odd records told one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comat_core.support.errors import UserError
from data.real_images.aro import AroList

RED, BLUE = (255, 0, 0), (0, 0, 255)
PLAIN = {"image_path": "0.png", "true_caption": "a red square", "false_caption": "a blue square"}


def boxed(x: Any, y: Any, width: Any, height: Any) -> dict[str, Any]:
    return {**PLAIN, "bbox_x": x, "bbox_y": y, "bbox_w": width, "bbox_h": height}


def aro(folder: Path, *records: Any) -> AroList:
    """A list about one image of 40 x 20 px, red on the left and blue on the right."""
    halves = np.zeros((20, 40, 3), np.uint8)
    halves[:, :20], halves[:, 20:] = RED, BLUE
    (folder / "images").mkdir(exist_ok=True)
    Image.fromarray(halves).save(folder / "images" / "0.png")
    (folder / "list.json").write_text(json.dumps(records))
    return AroList(folder, "list.json", "images")


def test_a_box_is_cut_out_as_far_as_it_lies_inside(tmp_path: Path) -> None:
    source = aro(tmp_path, boxed(0, 4, 20, 10), boxed(-5, -5, 30, 15), boxed(30.4, 10, 1e9, 1e300), PLAIN)
    sizes = [source.read(index).image.size for index in range(4)]
    assert sizes == [(20, 10), (25, 10), (10, 10), (40, 20)]
    for index in range(4):
        pixels = np.asarray(source.read(index).image)
        assert ((pixels == RED).all(axis=2) | (pixels == BLUE).all(axis=2)).all(), "nothing black is added"


@pytest.mark.parametrize("box", [(40, 0, 5, 5), (0, 20, 5, 5), (-9, 0, 9, 9), (0, -30, 5, 5), (1e300, 0, 1, 1)])
def test_a_box_outside_of_its_image_is_refused(tmp_path: Path, box: tuple[float, ...]) -> None:
    source = aro(tmp_path, PLAIN, boxed(*box))
    with pytest.raises(
        UserError, match=r"the box .* lies outside of its image of 40 x 20 px \(.*list\.json, record 2\)"
    ):
        source.read(1)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (3, "a record is no JSON object"),
        ({"true_caption": "a dog"}, "no text image_path, so the list is not in ARO's layout"),
        ({**PLAIN, "true_caption": 3}, "no text true_caption"),
        ({**PLAIN, "true_caption": " "}, "the true_caption is empty"),
        ({**PLAIN, "false_caption": ["a"]}, "no text false_caption"),
        ({**PLAIN, "image_path": "../0.png"}, r"'\.\./0\.png' names no file below"),
        ({**PLAIN, "bbox_x": 3}, "a box needs four numbers"),
        (boxed("1", 1, 5, 5), "a box needs four numbers"),
        (boxed(1, 1, 0, 5), "an empty box, 0 x 5 px"),
        (boxed(1, 1, 5, -3), "an empty box, 5 x -3 px"),
        (boxed(True, 1, 5, 5), "a box needs four numbers"),
    ],
)
def test_odd_records_are_told_with_their_number(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"{message}.*list\.json, record 2\)"):
        aro(tmp_path, PLAIN, record)


def test_an_empty_wrong_caption_is_none(tmp_path: Path) -> None:
    source = aro(tmp_path, {**PLAIN, "false_caption": " "}, {**PLAIN, "false_caption": None})
    assert [source.read(index).wrong_caption for index in range(2)] == [None, None]


def test_lists_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such list of captions \(.*absent\.json"):
        AroList(tmp_path, "absent.json", "images")
    (tmp_path / "list.json").write_text('[{"image_path": "0.png", "bbox_x": NaN}]')
    with pytest.raises(UserError, match=r"NaN is no number.*list\.json"):
        AroList(tmp_path, "list.json", "images")
    source = aro(tmp_path, {**PLAIN, "image_path": "absent.png"})
    with pytest.raises(UserError, match=r"no such image \(.*absent\.png\): .*take record 1 out of list\.json"):
        source.read(0)
