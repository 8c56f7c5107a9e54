"""Image-to-text models that score how well an image shows its prompt, all behind the protocol `ImageToText`."""

from typing import Final

import torch

from comat_core.captioners.blip import BlipCaptioner
from comat_core.captioners.git import GitCaptioner
from comat_core.captioners.llava import LlavaCaptioner
from comat_core.captioners.protocol import DEFAULT_PREFIX, CaptionLikelihood, ImageToText
from comat_core.captioners.transformers_captioner import TransformersCaptioner
from comat_core.support.errors import UserError

CAPTIONERS: Final[dict[str, type[TransformersCaptioner]]] = {
    "blip": BlipCaptioner,
    "git": GitCaptioner,
    "llava": LlavaCaptioner,
}


def load_captioner(
    kind: str,
    folder: str,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    prefix: str = DEFAULT_PREFIX,
) -> TransformersCaptioner:
    """Load a frozen captioner of the given kind, a key of `CAPTIONERS`, from a folder or hub id.

    Raises:
        UserError: unknown kind, or no complete checkpoint of that kind.
    """
    if kind not in CAPTIONERS:
        raise UserError(f"unknown captioner {kind!r}", "captioner kind", f"use one of {', '.join(CAPTIONERS)}")
    return CAPTIONERS[kind].load(folder, revision=revision, dtype=dtype, device=device, prefix=prefix)


__all__ = [
    "CAPTIONERS",
    "DEFAULT_PREFIX",
    "CaptionLikelihood",
    "ImageToText",
    "TransformersCaptioner",
    "load_captioner",
]
