"""How much likelier a captioner finds the prompt than texts that are nearly the same and wrong."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from comat_core.captioners.protocol import ImageToText


class CaptionContrast:
    """r(I, P) = log p(P | I) - log (1/n sum_j p(P_j | I)), over the counterfactuals P_1 … P_n of P.

    What all captions of an image share (its style, the article, the first noun) cancels; what is left is what the
    prompt says and they do not. A prompt without counterfactuals scores 0.

    Args:
        captioner: gives the likelihoods, summed over the tokens of a caption.
        counterfactuals: from a prompt to its wrong forms, as `comat_core.language.counterfactuals` makes them.
    """

    def __init__(self, captioner: ImageToText, counterfactuals: Callable[[str], Sequence[str]]) -> None:
        self.captioner = captioner
        self.counterfactuals = counterfactuals

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The captioner's."""
        return self.captioner.networks

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out each prompt and its counterfactuals; see `Reward`."""
        forms = [(prompt, *self.counterfactuals(prompt)) for prompt in prompts]
        asked = [(row, text) for row, texts in enumerate(forms) if len(texts) > 1 for text in texts]
        if not asked:
            return lambda images: images.float().sum(dim=(1, 2, 3)) * 0
        rows = torch.tensor([row for row, _ in asked], device=device)
        likelihood_of = self.captioner.prepare([text for _, text in asked], device)
        sizes = [len(texts) for texts in forms if len(texts) > 1]
        scored = torch.tensor([row for row, texts in enumerate(forms) if len(texts) > 1], device=device)

        def score(images: Tensor) -> Tensor:
            likelihoods = likelihood_of(images[rows]).per_caption("sum")
            contrasts = torch.stack([contrast(part) for part in likelihoods.split(sizes)])
            return torch.zeros(len(prompts), device=contrasts.device).index_copy(0, scored, contrasts)

        return score


def contrast(log_likelihoods: Tensor) -> Tensor:
    """log p_0 minus the log-mean-exp of the others.

    Args:
        log_likelihoods: (1 + n,), n at least 1: of the prompt, then of its counterfactuals.

    Returns:
        A scalar, above 0 where the prompt is likelier than its counterfactuals on average.
    """
    right, wrong = log_likelihoods[0], log_likelihoods[1:]
    return right - (wrong.logsumexp(dim=0) - math.log(len(wrong)))
