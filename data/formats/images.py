"""Images as a viewer shows them: the one reader of every picture that comes from outside.

What a file says beside its pixels counts: the camera's orientation (EXIF), the profile of its colours (ICC), which
pixels are transparent (they lie on white), 16 bits a channel, palettes, CMYK. Of an animation it is the first picture.
"""

import struct
import warnings
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from comat_core.files.regular_files import MEBIBYTE, read_file
from comat_core.support.errors import UserError, first_line

READING: Final = 1
"""Raised by hand when the same file gives other pixels; part of the keys of what is made from image files."""

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Of the files that are taken for images where a folder's or an archive's are listed."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000")
"""What is decoded, whatever the file's name. Pillow knows others, which run programs (EPS) or are no pictures."""

LARGEST: Final = 256 * MEBIBYTE
MOST_PIXELS: Final = 100_000_000

ADVICE: Final = "replace the file, by another download or a copy in PNG or JPEG"

DAMAGE: Final = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for damaged files: all that code may stumble over which takes a file at its word."""

UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation -> what brings the image upright; 1 is upright."""

OPAQUE: Final = frozenset({"1", "L", "RGB", "CMYK", "YCbCr"})
WITH_ALPHA: Final = frozenset({"P", "PA", "LA", "RGBA", "RGBa"})
SIXTEEN_BITS: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
PROFILED: Final = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
"""Colour space of an ICC profile -> mode of the pixels that it is about."""

# What Pillow warns of is told as an error here, or does not matter: large pictures, EXIF that cannot be parsed.
warnings.filterwarnings("ignore", module=r"PIL\.")


class _RefusedError(Exception):
    """An image that could be decoded, but not shown."""


def read_image(path: Path, *, advice: str = ADVICE) -> Image.Image:
    """Read an image file as RGB.

    Args:
        advice: what to do if it cannot be read.

    Raises:
        UserError: it is missing, no regular file, too large, damaged, or no image; the line names it.
    """
    return decode_image(read_file(path, "image", limit=LARGEST, advice=advice), str(path), advice=advice)


def decode_image(content: bytes, where: str, *, advice: str = ADVICE) -> Image.Image:
    """Decode an image file's content as RGB.

    Args:
        where: it stands, for the message.

    Raises:
        UserError: it is too large, damaged, or no image.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _RefusedError(f"{image.width:,} x {image.height:,} px are more than {MOST_PIXELS:,}")
            image.load()
            return as_shown(image)
    except UnidentifiedImageError as error:
        reason = "it is empty" if not content else f"it is none of {', '.join(FORMATS)}"
        raise UserError(f"the image cannot be decoded: {reason}", where, advice) from error
    except (*DAMAGE, _RefusedError) as error:
        raise UserError(f"the image cannot be decoded: {first_line(error)}", where, advice) from error


def as_shown(image: Image.Image) -> Image.Image:
    """The RGB image that a viewer shows for this one: upright, in sRGB, on white, 8 bits a channel."""
    turn = UPRIGHT.get(_orientation(image))
    shown = _on_white(_in_eight_bits(image))
    return shown if turn is None else shown.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGE:
        return 1  # viewers show the picture all the same


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """A greyscale of 16 bits by its upper ones, as libpng takes them; Pillow's own conversion cuts off at 255.

    Raises:
        _RefusedError: the pixels are numbers without a known range, or colours that no screen has.
    """
    if image.mode in OPAQUE | WITH_ALPHA:
        return image
    # Before Pillow 11, 16 bits of PNG were read as 32.
    if image.mode not in SIXTEEN_BITS and not (image.mode == "I" and image.format == "PNG"):
        raise _RefusedError(f"its pixels are of the kind {image.mode}, which no viewer can show")
    levels = np.asarray(image)
    grey = Image.fromarray((levels >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    grey.info["icc_profile"] = image.info.get("icc_profile")
    return grey


def _on_white(image: Image.Image) -> Image.Image:
    transparent = image.info.get("transparency")
    if image.mode in OPAQUE and transparent is None:
        return _in_srgb(image)
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        image.info["transparency"] = tuple(level >> 8 for level in transparent)  # 16 bits, as the pixels were
    layer = image.convert("RGBA")
    layer.info["icc_profile"] = image.info.get("icc_profile")
    white = Image.new("RGB", image.size, "white")
    white.paste(_in_srgb(layer), mask=layer.getchannel("A"))
    return white


def _in_srgb(image: Image.Image) -> Image.Image:
    """RGB without an alpha channel; the colours are moved if they are others than a screen's."""
    profile = image.info.get("icc_profile")
    found = _profile_of(profile) if profile else None
    if found is None:
        return image.convert("RGB")
    mode, transform = found
    pixels = image.convert("RGB") if image.mode in WITH_ALPHA else image
    moved = ImageCms.applyTransform(pixels, transform) if pixels.mode == mode else None
    return pixels.convert("RGB") if moved is None else moved


@lru_cache(maxsize=64)
def _profile_of(content: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """What moves the colours of a profile to sRGB, and the mode of image that it takes.

    None for sRGB itself, and for profiles that cannot be used: viewers take the picture without them.
    """
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(content))
        core: Any = profile.profile
        mode = PROFILED.get(core.xcolor_space.strip())
        if mode is None or ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return None
        return mode, ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (*DAMAGE, ImageCms.PyCMSError):
        return None
