"""WebDataset shards: which members make a pair, and what is told of those that make none."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from comat_core.support.errors import UserError
from data.real_images.webdataset import WebDatasetShards

BUFFER = io.BytesIO()
Image.new("RGB", (3, 2), (0, 128, 255)).save(BUFFER, "PNG")
PNG = BUFFER.getvalue()
MARK = "\ufeff".encode()


def write_tar(file: Path, *members: tuple[str, bytes]) -> Path:
    file.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.parent


def captions(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    source = WebDatasetShards(folder)
    pairs = [source.read(index) for index in range(len(source))]
    assert all(pair.image.size == (3, 2) for pair in pairs)
    return [(pair.pair_id, pair.captions) for pair in pairs]


def test_byte_order_marks_are_no_part_of_a_caption(tmp_path: Path) -> None:
    folder = write_tar(
        tmp_path / "a.tar",
        *[("0.png", PNG), ("0.txt", MARK + b"a cat\r\n")],
        *[("1.png", PNG), ("1.json", MARK + b'{"caption": "a dog"}')],
        *[("2.png", PNG), ("2.json", b'{"caption": ["\\ufeffa bird", "a  tit"]}')],
    )
    assert captions(folder) == [("a:0", ("a cat",)), ("a:1", ("a dog",)), ("a:2", ("a bird", "a tit"))]


def test_images_without_a_caption_are_left_out(tmp_path: Path) -> None:
    folder = write_tar(
        tmp_path / "a.tar",
        *[("0.png", PNG), ("1.png", PNG), ("1.txt", b""), ("2.png", PNG), ("2.txt", MARK + b" \n")],
        *[
            ("3.png", PNG),
            ("3.json", b'{"caption": ["", "a cat", " "]}'),
            ("4.png", PNG),
            ("4.json", b'{"caption": []}'),
        ],
    )
    assert captions(folder) == [("a:3", ("a cat",))]


def test_hidden_files_and_members_of_other_kinds_are_none_of_the_samples(tmp_path: Path) -> None:
    good = [("./0.png", PNG), ("./0.txt", b"a cat"), ("._0.png", b"x"), ("._0.txt", b"x"), ("0.seg.png", b"x")]
    folder = write_tar(tmp_path / "a.tar", *good, ("0.cls", b"3"), ("notes.txt", b"\xff"))
    (tmp_path / "._a.tar").write_bytes(b"what a Mac leaves behind")
    (tmp_path / ".b.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"no \.tar file"):
        WebDatasetShards(tmp_path / "absent")
    assert captions(folder) == [("a:0", ("a cat",))]


def test_samples_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    members = [(f"{place}/0.{kind}", content) for place in "xy" for kind, content in (("png", PNG), ("txt", b"a cat"))]
    assert [pair for pair, _ in captions(write_tar(tmp_path / "a.tar", *members))] == ["a:x/0", "a:y/0"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", PNG), ("0.txt", b"a caf\xe9")], r"the caption is not UTF-8 text \(.*a\.tar, 0\.txt"),
        ([("0.png", PNG), ("0.json", b'{"text": "a cat"}')], r"the caption is no text \(.*a\.tar, 0\.json"),
        ([("0.png", PNG), ("0.json", b'{"caption": {"en": "a"}}')], r"the caption is no text \(.*a\.tar, 0\.json"),
        ([("0.png", PNG), ("0.json", b'["a cat"]')], r"the caption holds no JSON object \(.*a\.tar, 0\.json"),
        ([("0.png", PNG), ("0.json", b'{"caption": "\\ud83d"}')], r"half a character \(.*a\.tar, 0\.json"),
        ([("0.png", PNG), ("0.json", b"[" * 100_000)], r"malformed JSON: .*a\.tar, 0\.json"),
        ([("0.png", PNG), ("0.txt", b"a"), ("0.txt", b"b")], r"two members are called '0\.txt' \(.*a\.tar\)"),
        ([("0.png", PNG), ("0.txt", b"a"), ("0.PNG", PNG)], r"two members are called '0\.PNG' \(.*a\.tar\)"),
        ([("0.png", b"no image"), ("0.txt", b"a cat")], r"the image cannot be decoded.*a\.tar, 0\.png.*write it anew"),
        ([("0.png", PNG[:-30]), ("0.txt", b"a cat")], r"the image cannot be decoded.*a\.tar, 0\.png"),
    ],
)
def test_members_that_cannot_be_read_are_named(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        captions(write_tar(tmp_path / "a.tar", *members))


def test_the_identity_follows_captions_and_not_the_place(tmp_path: Path) -> None:
    first = WebDatasetShards(write_tar(tmp_path / "one" / "a.tar", ("0.png", PNG), ("0.txt", b"a cat"))).identity()
    same = WebDatasetShards(write_tar(tmp_path / "two" / "a.tar", ("0.png", PNG), ("0.txt", b"a cat"))).identity()
    other = WebDatasetShards(write_tar(tmp_path / "one" / "a.tar", ("0.png", PNG), ("0.txt", b"a dog"))).identity()
    assert json.dumps(first) == json.dumps(same)
    assert first != other
