"""Attention maps as pictures: warm where a word looks, the image in grey below."""

from typing import TYPE_CHECKING

import numpy as np

from stages.attention.recording import SIDE
from stages.images.png import decode_png
from stages.report.pictures.pictures import jpeg_uri

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

FAINTEST, STRONGEST = 0.25, 0.85
"""Opacity of the colours where the attention is 0 and where it is at the scale's top."""


def draw_overlay(png: bytes, heat: "NDArray[np.float32]", top: float) -> str:
    """Lay a heat map over its image, as a data URI; see `blend_overlay`."""
    return jpeg_uri(blend_overlay(png, heat, top))


def blend_overlay(png: bytes, heat: "NDArray[np.float32]", top: float) -> "Image":
    """Lay a heat map over its image.

    Args:
        heat: (SIDE, SIDE), at least 0.
        top: the heat of the strongest colour; the same for all maps that are to be compared.

    Returns:
        a picture of SIDE by SIDE pixels.
    """
    from matplotlib import colormaps
    from PIL import Image

    image = decode_png(png).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    grey = np.asarray(image, dtype=np.float32)[..., None] / 255
    strength = np.clip(heat / max(top, 1e-12), 0, 1)
    colours = colormaps["inferno"](strength)[..., :3]
    opacity = (FAINTEST + (STRONGEST - FAINTEST) * strength)[..., None]
    blended = grey * (1 - opacity) + colours * opacity
    return Image.fromarray((blended * 255).round().astype(np.uint8))
