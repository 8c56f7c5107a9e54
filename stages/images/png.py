"""Images as PNG files."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def encode_png(image: "Tensor") -> bytes:
    """Encode one image (3, H, W) in [0, 1] as a PNG file; tails are cut off."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
