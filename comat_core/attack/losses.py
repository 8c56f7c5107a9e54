"""What an attack minimises: the classifier's margin for the class, and the distance from what the prompt said."""

import torch
from torch import Tensor
from torch.nn import functional


def margin_loss(logits: Tensor, classes: Tensor, kappa: float) -> Tensor:
    """Carlini and Wagner's loss: max(0, z_y - max over other classes of z + kappa), for each image.

    Args:
        logits: (B, C), z.
        classes: (B,) numbers of the classes y that are to be lost.
        kappa: how far another class has to be above y for the loss to be 0.

    Returns:
        (B,), at least 0.
    """
    own = logits.gather(1, classes[:, None]).squeeze(1)
    others = logits.scatter(1, classes[:, None], -torch.inf).amax(dim=1)
    return (own - others + kappa).clamp(min=0)


def text_similarity(states: Tensor, ends: Tensor, original_states: Tensor, original_ends: Tensor) -> Tensor:
    """Cosine of a text encoder's states at the end of text, where CLIP reads off what a whole text says.

    Args:
        states: (B, L, D) of the changed prompts.
        ends: (B,) positions of their end of text.
        original_states: (B, L, D) of the original prompts.
        original_ends: (B,) positions of theirs.

    Returns:
        (B,) in [-1, 1].
    """
    rows = torch.arange(len(states), device=states.device)
    changed = states[rows, ends.to(states.device)]
    return functional.cosine_similarity(changed, original_states[rows, original_ends.to(states.device)])
