"""How well a map of numbers points at an object, whatever their scale."""

import torch
from torch import Tensor


def average_precision(scores: Tensor, inside: Tensor) -> float:
    """Area under the precision-recall curve of the pixels, taken from the highest score to the lowest.

    1 when every pixel of the object scores above every other; the object's share of the pixels when the scores say
    nothing. Pixels of equal score are taken together.

    Args:
        scores: (pixels,) of any scale.
        inside: (pixels,) booleans, at least one true.

    Returns:
        In (0, 1].
    """
    assert inside.any(), "an object without a pixel has no precision"
    order = scores.argsort(descending=True)
    ranked, hits = scores[order], inside[order].double().cumsum(0)
    last_of_its_score = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])
    hits = hits[last_of_its_score]
    taken = torch.arange(1, len(scores) + 1, device=scores.device)[last_of_its_score]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return float((gained * hits / taken).sum() / hits[-1])
