"""Pictures as a viewer shows them, and one line for whatever is none."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from comat_core.support.errors import UserError
from data.formats import images
from data.formats.images import as_shown, decode_image, read_image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def picture() -> Image.Image:
    """24 x 16 px whose quarters differ: red and green above blue and white."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :12], pixels[:8, 12:], pixels[8:, :12], pixels[8:, 12:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    image = decode_image(content, "here")
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colours: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file by hand: Pillow writes no 16 bits of colour."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


TURNED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""EXIF's orientation -> how a camera of that orientation stores an upright picture."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_photograph_stands_upright(kind: str, orientation: int) -> None:
    upright = np.asarray(picture())
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = pixels_of(encoded(stored, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "WEBP") else {})))
    assert shown.shape == upright.shape
    assert np.abs(shown[2:6, 2:10] - RED).max() < 20
    assert np.abs(shown[2:6, 14:22] - GREEN).max() < 20
    assert np.abs(shown[10:14, 2:10] - BLUE).max() < 20


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(pixels_of(encoded(picture(), exif=exif)), np.asarray(picture()))


@pytest.mark.filterwarnings("ignore")
def test_exif_that_cannot_be_parsed_changes_nothing() -> None:
    broken = encoded(picture(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(pixels_of(broken), np.asarray(picture()))


def with_hole(mode: str) -> Image.Image:
    """Black, and transparent on the left, where the hidden pixels are black as well."""
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[:, :2] = 0
    grey = Image.new("L", (4, 4), 0)
    grey.putalpha(Image.fromarray(alpha))
    return grey if mode == "LA" else grey.convert("RGBA")


@pytest.mark.parametrize(
    "content",
    [
        encoded(with_hole("RGBA")),
        encoded(with_hole("LA")),
        encoded(with_hole("RGBA"), "WEBP", lossless=True),
        encoded(with_hole("RGBA"), "TIFF"),
        encoded(with_hole("RGBA"), "GIF"),
        png(4, 1, 8, 3, bytes([0, 1, 1, 0, 0]), (b"PLTE", bytes(6)), (b"tRNS", bytes([255, 0]))),
        png(4, 1, 8, 2, bytes([0, *(1, 1, 1) * 2, *(0, 0, 0) * 2]), (b"tRNS", bytes([0, 1, 0, 1, 0, 1]))),
        png(4, 1, 8, 0, bytes([0, 1, 1, 0, 0]), (b"tRNS", bytes([0, 1]))),
        png(4, 1, 16, 0, bytes([0, *(1, 1) * 2, *(0, 0) * 2]), (b"tRNS", bytes([1, 1]))),
        png(4, 1, 16, 2, bytes([0, *(1, 1) * 6, *(0, 0) * 6]), (b"tRNS", bytes([1, 1] * 3))),
    ],
    ids=["rgba", "grey", "webp", "tiff", "gif", "palette", "key", "grey-key", "16-bit-grey-key", "16-bit-key"],
)
def test_what_is_transparent_is_white_whatever_lies_hidden(content: bytes) -> None:
    shown = pixels_of(content)
    assert (shown[:, :2] == WHITE).all()
    assert (shown[:, 2:] <= 1).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert np.abs(pixels_of(encoded(half)) - (255, 127, 127)).max() <= 1


def test_16_bits_of_grey_keep_their_levels() -> None:
    levels = np.array([[0, 255, 256, 32768, 50000, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert pixels_of(encoded(Image.fromarray(levels), kind))[0, :, 0].tolist() == [0, 0, 1, 128, 195, 255]
    colour = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 32768, 0, 256, 255, 50000))
    assert pixels_of(colour).tolist() == [[[255, 128, 0], [1, 0, 195]]]


@pytest.mark.parametrize("mode", ["P", "L", "1", "CMYK", "YCbCr"])
def test_colour_modes_become_rgb(mode: str) -> None:
    grey = Image.new("RGB", (8, 8), WHITE)
    grey.paste(BLACK, (0, 0, 8, 4))
    shown = pixels_of(encoded(grey.convert(mode), "TIFF"))
    assert np.abs(shown[:4] - 0).max() <= 1
    assert np.abs(shown[4:] - 255).max() <= 1


def test_cmyk_photographs_have_their_colours() -> None:
    shown = pixels_of(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(shown[2:6, 2:10] - RED).max() < 20


def swapped_profile() -> bytes:
    """A profile in which red means what blue is in sRGB, and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_the_profile_of_the_colours_is_followed() -> None:
    for mode in ("RGB", "RGBA", "P"):
        shown = pixels_of(encoded(picture().convert(mode), icc_profile=swapped_profile()))
        assert np.abs(shown[2:6, 2:10] - BLUE).max() <= 2
        assert np.abs(shown[2:6, 14:22] - GREEN).max() <= 2
        assert np.abs(shown[10:14, 14:22] - WHITE).max() <= 2
    transparent = encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), icc_profile=swapped_profile())
    assert (pixels_of(transparent) == 255).all()


def test_srgb_and_profiles_that_are_none_change_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile", swapped_profile()[:200]):
        np.testing.assert_array_equal(pixels_of(encoded(picture(), icc_profile=profile)), np.asarray(picture()))


def test_of_an_animation_the_first_picture_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG"):
        shown = pixels_of(encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
        assert (shown == RED).all()


def test_pixels_without_a_range_are_refused() -> None:
    for pixels in (np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int32)):
        with pytest.raises(UserError, match=r"its pixels are of the kind [FI], which no viewer can show \(here\)"):
            pixels_of(encoded(Image.fromarray(pixels), "TIFF"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no image", "it is none of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "it is none of JPEG, PNG"),
        (encoded(picture())[:-40], "truncated|broken"),
        (encoded(picture(), "JPEG")[:400], ""),
        (encoded(picture(), "WEBP")[:60], ""),
        (png(30_000, 30_000, 8, 0, b""), r"30,000 x 30,000 px are more than 100,000,000|decompression bomb"),
        (png(11_000, 11_000, 8, 0, b""), r"11,000 x 11,000 px are more than 100,000,000"),
    ],
)
def test_what_is_no_image_is_told_with_its_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"the image cannot be decoded: .*({reason}).*a\.png\): mend it"):
        read_image(path, advice="mend it")


def test_only_regular_files_of_a_bounded_size_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name, reason in {"pipe": "it is a pipe", "folder": "it is a folder", "device": "it is a device"}.items():
        with pytest.raises(UserError, match=rf"the image cannot be read: {reason}.*{name}\.png"):
            read_image(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match=r"the image cannot be read: .*loop\.png"):
        read_image(tmp_path / "loop.png")
    with pytest.raises(UserError, match=r"there is no such image \(.*absent\.png\)"):
        read_image(tmp_path / "absent.png")
    monkeypatch.setattr(images, "LARGEST", 50)
    (tmp_path / "large.png").write_bytes(encoded(picture()))
    with pytest.raises(UserError, match=r"it has more than 50 bytes.*large\.png"):
        read_image(tmp_path / "large.png")


def test_what_a_pipeline_draws_is_shown_alike() -> None:
    assert np.asarray(as_shown(Image.new("RGBA", (2, 2), (0, 0, 0, 0)))).min() == 255
    np.testing.assert_array_equal(np.asarray(as_shown(picture())), np.asarray(picture()))


def mutated(content: bytes, source: random.Random) -> bytes:
    """A file with some bytes changed, cut out, doubled, or its end lost."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 4)):
        place, length = source.randrange(len(changed) + 1), source.randint(1, 16)
        kind = source.randrange(4)
        if kind == 0:
            changed[place : place + length] = source.randbytes(length)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        else:
            del changed[place:]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_pictures_or_one_line() -> None:
    source = random.Random(7)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    profile = swapped_profile()
    files = [encoded(picture(), kind, exif=exif, icc_profile=profile) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    files += [encoded(picture(), "GIF"), encoded(picture(), "BMP"), encoded(picture().convert("CMYK"), "JPEG")]
    files += [encoded(with_hole("RGBA")), encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)))]
    outcomes = {"shown": 0, "told": 0}
    for number in range(1800):
        try:
            assert decode_image(mutated(files[number % len(files)], source), "here").mode == "RGB"
            outcomes["shown"] += 1
        except UserError as error:
            assert "\n" not in str(error)
            outcomes["told"] += 1
    assert min(outcomes.values()) > 200, outcomes


def test_a_large_picture_with_broken_exif_is_told_in_one_line_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(11_000, 11_000, 8, 0, b"", (b"eXIf", b"MM\0*\xff\xff\xff\xff")))
    (tmp_path / "b.png").write_bytes(encoded(picture(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))
    code = """
import sys, pathlib
from comat_core.support.errors import UserError
from data.formats.images import read_image
read_image(pathlib.Path("b.png"))
try:
    read_image(pathlib.Path("a.png"))
except UserError as error:
    print(error, file=sys.stderr)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True
    )
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
