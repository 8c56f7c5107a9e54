"""Concept activation: a frozen image-to-text model must be able to read the prompt back from the generated image."""

from typing import Literal

import torch
from torch import Tensor

from comat_core.numerics import at_least_float32

TokenReduction = Literal["mean", "sum"]


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
