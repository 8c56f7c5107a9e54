"""Fidelity preservation: an adversarial loss that keeps the online model's images within the reference model's."""

from torch import Tensor
from torch.nn.functional import softplus

from comat_core.support.numerics import at_least_float32


def generator_adversarial_loss(logits_fake: Tensor, *, saturating: bool = False) -> Tensor:
    """The online model's side of equation 3, averaged over every logit.

    The equation lets the online model minimise log(1 - D(z'_0)), whose gradient vanishes where the discriminator is
    sure; the usual remedy, and the authors' code, is to minimise -log D(z'_0) instead. Both have the same fixed
    point.

    Args:
        logits_fake: any shape, the discriminator's logits on the online model's output; D = sigmoid(logit).
        saturating: minimise the equation's own term.

    Returns:
        A float32 scalar: at least 0, or at most 0 when saturating.
    """
    logits = at_least_float32(logits_fake)
    # log(1 - sigmoid(x)) = -softplus(x) and -log sigmoid(x) = softplus(-x), neither of which overflows.
    return -softplus(logits).mean() if saturating else softplus(-logits).mean()


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """The discriminator's side of equation 3: binary cross entropy, the mean over each side's logits, then over
    both.

    Equal to -(log D(z^_0) + log(1 - D(z'_0))) / 2, hence log 2 for a discriminator that knows nothing.

    Args:
        logits_real: logits on the reference model's latents or images (or on real ones); any shape.
        logits_fake: logits on the online model's, which must be detached from its graph; any shape.

    Returns:
        A float32 scalar, at least 0.
    """
    real, fake = at_least_float32(logits_real), at_least_float32(logits_fake)
    return (softplus(-real).mean() + softplus(fake).mean()) / 2


def discriminator_accuracy(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Share of logits on the right side of 0, averaged over both sides, in [0, 1]; without gradient."""
    right_real = (logits_real.detach() > 0).float().mean()
    right_fake = (logits_fake.detach() < 0).float().mean()
    return (right_real + right_fake) / 2
