"""Image-to-text models that score how well an image shows its prompt, all behind the protocol `ImageToText`."""

from comat_core.captioners.protocol import DEFAULT_PREFIX, CaptionLikelihood, ImageToText
from comat_core.captioners.transformers_captioner import TransformersCaptioner

__all__ = ["DEFAULT_PREFIX", "CaptionLikelihood", "ImageToText", "TransformersCaptioner"]
