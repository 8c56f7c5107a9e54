"""Pictures for the page: small enough to be inlined, as data URIs."""

import base64
import io
from typing import TYPE_CHECKING

from stages.images.png import decode_png

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_SIDE = 256  # pixels; smaller pictures are inlined as they are
SHOWN_SIDE = 384
THUMBNAIL_SIDE = 96
JPEG_QUALITY = 85


def png_uri(png: bytes) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def shown_picture(png: bytes) -> str:
    """A generated image at the size of an example; large ones are shrunk and stored as JPEG."""
    from PIL import Image

    image = decode_png(png)
    if max(image.size) <= KEPT_SIDE:
        return png_uri(png)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    return jpeg_uri(image)


def thumbnail(png: bytes) -> str:
    """A generated image at the size of a table row, as JPEG: there are many of them."""
    from PIL import Image

    image = decode_png(png)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return jpeg_uri(image)


def jpeg_uri(image: "Image") -> str:
    """A picture as a JPEG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
