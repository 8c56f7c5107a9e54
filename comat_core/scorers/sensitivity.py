"""How well an image-to-text model tells a prompt from nearly the same prompt (equation 7).

A model that is blind to the difference has sensitivity 0 and cannot teach it. `comat_core.language.corruptions` makes
the wrong prompts.
"""

from torch import Tensor


def sensitivity(log_p_right: Tensor, log_p_wrong: Tensor) -> Tensor:
    """Compute S = (log p(P|I) - log p(P'|I)) / |log p(P|I)|, equation 7.

    Args:
        log_p_right: log-likelihood of the image's own prompt P, at most 0; any shape.
        log_p_wrong: log-likelihood of the corrupted prompt P', same shape.

    Returns:
        Same shape. Positive where the model prefers the right prompt; 0 when it cannot tell them apart.
    """
    return (log_p_right - log_p_wrong) / log_p_right.abs()
