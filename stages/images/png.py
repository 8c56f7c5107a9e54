"""Images as PNG files."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

DAMAGED = "find the damaged artifact with `comat verify`"


def encode_png(image: "Tensor") -> bytes:
    """Encode one image (3, H, W) in [0, 1] as a PNG file; tails are cut off."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(png: bytes) -> "Image":
    """Decode an image of the store as RGB.

    Raises:
        UserError: it is damaged.
    """
    from data.formats.images import decode_image

    return decode_image(png, "an image in the store", advice=DAMAGED)
