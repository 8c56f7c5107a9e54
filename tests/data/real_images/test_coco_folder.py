"""COCO's layout: every caption on its own image, and odd entries told one by one."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comat_core.support.errors import UserError
from data.formats.images import READING
from data.real_images.coco_folder import CocoFolder

IMAGES = [{"id": 7, "file_name": "7.png"}, {"id": 3, "file_name": "3.png"}, {"id": 5, "file_name": "5.png"}]
CAPTIONS = [{"image_id": 3, "caption": "a cat"}, {"image_id": 7, "caption": " a  dog\n"}]


def folder(root: Path, images: Any, annotations: Any) -> CocoFolder:
    (root / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return CocoFolder(root, "captions.json", "images")


def test_images_come_by_their_ids_and_those_without_a_caption_are_left_out(tmp_path: Path) -> None:
    more = [*CAPTIONS, {"image_id": 3, "caption": "a tom"}, {"image_id": 5, "caption": " \ufeff\n"}]
    more.append({"image_id": 9, "caption": "of no image here"})
    source = folder(tmp_path, IMAGES, more)
    assert source.entries == [(3, "3.png", ("a cat", "a tom")), (7, "7.png", ("a dog",))]
    assert source.identity() == [READING, source.entries]


def test_ids_may_be_texts(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"id": "b", "file_name": "b.png"}], [{"image_id": "b", "caption": "a cat"}])
    assert source.entries == [("b", "b.png", ("a cat",))]


def test_an_id_of_two_files_is_refused_rather_than_captioned_wrongly(tmp_path: Path) -> None:
    twice = [*IMAGES, {"id": 3, "file_name": "other.png"}]
    with pytest.raises(UserError, match=r"image id 3 stands for two files, 3\.png and other\.png.*number 4 of images"):
        folder(tmp_path, twice, CAPTIONS)
    assert len(folder(tmp_path, [*IMAGES, IMAGES[1]], CAPTIONS)) == 2  # the same entry again says nothing new


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        (None, [], "not a COCO captions file: it has no list 'images'"),
        ([], {}, "not a COCO captions file: it has no list 'annotations'"),
        ([*IMAGES, 3], [], r"an entry is no JSON object \(.*captions\.json, number 4 of images\)"),
        ([*IMAGES, {"id": 1}], [], r"no text file_name \(.*number 4 of images"),
        ([*IMAGES, {"id": 1, "file_name": 2}], [], r"no text file_name \(.*number 4 of images"),
        ([{"id": [1], "file_name": "1.png"}], [], r"no id, a number or text \(.*number 1 of images"),
        ([{"id": True, "file_name": "1.png"}], [], r"no id, a number or text \(.*number 1 of images"),
        ([{"id": 1.5, "file_name": "1.png"}], [], r"no id, a number or text \(.*number 1 of images"),
        ([{"id": 1, "file_name": "/etc/passwd"}], [], r"'/etc/passwd' names no file below .*number 1 of images"),
        ([*IMAGES, {"id": "7", "file_name": "7.png"}], [], "some image ids are numbers, others are texts"),
        (IMAGES, [*CAPTIONS, {"image_id": 5, "caption": None}], r"no text caption \(.*number 3 of annotations"),
        (IMAGES, [*CAPTIONS, {"image_id": 5}], r"no text caption \(.*number 3 of annotations"),
        (IMAGES, [{"image_id": {}, "caption": "a cat"}], r"no image_id, a number or text \(.*number 1 of annotations"),
        (IMAGES, [{"caption": "a cat"}], r"no image_id, a number or text \(.*number 1 of annotations"),
        (IMAGES, ["a cat"], r"an entry is no JSON object \(.*number 1 of annotations"),
        (IMAGES, [{"image_id": 3, "caption": "half \ud83d"}], r"half a character \(.*captions\.json"),
    ],
)
def test_odd_entries_are_told_with_their_place(tmp_path: Path, images: Any, annotations: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        folder(tmp_path, images, annotations)


def test_a_captions_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such captions file \(.*absent\.json"):
        CocoFolder(tmp_path, "absent.json", "images")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"it is a pipe.*pipe\.json"):
        CocoFolder(tmp_path, "pipe.json", "images")
    (tmp_path / "captions.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="the captions file holds no JSON object"):
        CocoFolder(tmp_path, "captions.json", "images")


def test_a_byte_order_mark_before_the_captions_is_no_mistake(tmp_path: Path) -> None:
    content = json.dumps({"images": IMAGES, "annotations": CAPTIONS})
    (tmp_path / "captions.json").write_text(content, encoding="utf-8-sig")
    assert len(CocoFolder(tmp_path, "captions.json", "images")) == 2


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first = folder(tmp_path, IMAGES, CAPTIONS)
    changed = folder(tmp_path, IMAGES, [{"image_id": 3, "caption": "another text"}])
    assert first.entries != changed.entries


def test_images_are_found_by_their_names_and_told_by_them(tmp_path: Path) -> None:
    name = "caf\u00e9.png"
    source = folder(tmp_path, [{"id": 3, "file_name": name}], CAPTIONS)
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"no such image \(.*caf\u00e9\.png\): .*take image 3 out of captions\.json"):
        source.read(0)
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / unicodedata.normalize("NFD", name))
    pair = source.read(0)
    assert (pair.pair_id, pair.captions, pair.image.size) == ("coco:3", ("a cat",), (3, 2))
