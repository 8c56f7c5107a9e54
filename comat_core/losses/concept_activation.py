"""Concept activation: a frozen image-to-text model must be able to read the prompt back from the generated image."""

import torch
from torch import Tensor

from comat_core.support.numerics import at_least_float32
from comat_core.training.step_settings import TokenReduction

CROP_UNIT = 224
"""Pixels of the image's side for each pixel that the crop before captioning may shift by."""


def concept_activation_loss(log_probabilities: Tensor, mask: Tensor, reduction: TokenReduction = "mean") -> Tensor:
    """Equation 2: L_i2t = - sum_i log p_C(w_i | I, w_<i), averaged over the captions of the batch.

    The average is taken caption by caption, never over the pooled tokens of the batch, so that the loss of a caption
    does not depend on how long its neighbours are and gradient accumulation equals one large batch.

    Args:
        log_probabilities: (B, L), log-likelihood of each caption token, at most 0. Entries outside the mask may hold
            anything, infinities and NaN included.
        mask: (B, L), true where a token counts (neither prefix nor padding).
        reduction: over the tokens of one caption: "sum" as the equation is printed, "mean" as the authors' code has
            it.

    Returns:
        A float32 scalar, at least 0. A caption without a counted token contributes 0.
    """
    mask = mask.bool()
    counted = torch.where(mask, at_least_float32(log_probabilities), 0.0)
    per_caption = -counted.sum(dim=1)
    if reduction == "mean":
        per_caption = per_caption / mask.sum(dim=1).clamp(min=1)
    return per_caption.mean()


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut side // 224 pixels off both dimensions, at one random offset for all images.

    The captioner then never reads quite the same grid of pixels twice, and patterns tuned to that grid do not pay.

    Args:
        images: (B, C, H, W).

    Returns:
        (B, C, H - margin, W - margin), a view.
    """
    margin = images.shape[-1] // CROP_UNIT
    top, left = torch.randint(margin + 1, (2,), generator=generator).tolist()
    height, width = images.shape[-2] - margin, images.shape[-1] - margin
    return images[..., top : top + height, left : left + width]
