"""Frozen models that stay in the CPU's memory and come to the GPU for the length of a call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from comat_core.captioners.protocol import CaptionLikelihood, ImageToText
from comat_core.rewards.protocol import Reward
from comat_core.segmenters.protocol import Segmenter

HOME = torch.device("cpu")


class OffloadedCaptioner:
    """A captioner that is called twice: for its likelihood, and in the backward pass for the images' gradient.

    Nothing of the first call is kept, so that between the two the GPU holds neither weights nor activations.
    """

    def __init__(self, captioner: ImageToText) -> None:
        """Take a loaded captioner home."""
        self.captioner = captioner
        self._models = [network.to(HOME) for network in captioner.networks.values()]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the captioner, at home."""
        return self.captioner.networks

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        """Lay out captions for what the visiting captioner does in the backward pass; see `ImageToText`."""
        return self.captioner.prepare(captions, device)

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        """Score captions[i] on images[i]; see `ImageToText`."""
        masks: list[Tensor] = []

        def score(some_images: Tensor) -> Tensor:
            with _visiting(self._models, some_images.device):
                likelihood = self.captioner.log_likelihood(some_images, captions)
                masks[:] = [likelihood.mask]
                return likelihood.log_probabilities

        def gradient(some_images: Tensor, of_scores: Tensor) -> Tensor:
            with _visiting(self._models, some_images.device):
                leaf = some_images.detach().requires_grad_()
                scores = self.captioner.log_likelihood(leaf, captions).log_probabilities
                return torch.autograd.grad(scores, leaf, of_scores)[0]

        log_probabilities: Any = _Recomputed.apply(images, score, gradient)
        return CaptionLikelihood(log_probabilities, masks[0])


class OffloadedReward:
    """A reward that is called twice, as `OffloadedCaptioner` is."""

    def __init__(self, reward: Reward) -> None:
        """Take a loaded reward home."""
        self.reward = reward
        self._models = [network.to(HOME) for network in reward.networks.values()]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the reward, at home."""
        return self.reward.networks

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out prompts; see `Reward`."""
        score_at_home = self.reward.prepare(prompts, device)

        def score(images: Tensor) -> Tensor:
            with _visiting(self._models, images.device):
                return score_at_home(images)

        def gradient(images: Tensor, of_scores: Tensor) -> Tensor:
            leaf = images.detach().requires_grad_()
            with _visiting(self._models, images.device):
                return torch.autograd.grad(score_at_home(leaf), leaf, of_scores)[0]

        def recomputed(images: Tensor) -> Tensor:
            scores: Any = _Recomputed.apply(images, score, gradient)
            return scores

        return recomputed


class OffloadedSegmenter:
    """A segmenter that is on the GPU only while it segments."""

    def __init__(self, segmenter: Segmenter) -> None:
        """Take a loaded segmenter home."""
        self.segmenter = segmenter
        self._models = [network.to(HOME) for network in segmenter.networks.values()]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the segmenter, at home."""
        return self.segmenter.networks

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`."""
        with _visiting(self._models, images.device):
            return self.segmenter.segment(images, nouns)


class OffloadedNetwork:
    """A network called without a graph, that is on the GPU only while it looks at its input."""

    def __init__(self, network: nn.Module) -> None:
        """Take a loaded network home."""
        self.network = network.to(HOME)

    def __call__(self, images: Tensor) -> Tensor:
        """Call the network on images, on their device."""
        with _visiting([self.network], images.device), torch.no_grad():
            return self.network(images)


class _Recomputed(torch.autograd.Function):
    """A function of images whose forward call leaves no graph; its gradient is computed from the images again."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, score: Callable[[Tensor], Tensor], gradient: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(images)
        ctx.gradient = gradient
        device = images.device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        return score(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (images,) = ctx.saved_tensors
        device, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(device, dtype, enabled=enabled):
            return ctx.gradient(images, gradients[0]), None, None


@contextmanager
def _visiting(models: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Within the context the models are on the device."""
    for model in models:
        model.to(device)
    try:
        yield
    finally:
        for model in models:
            model.to(HOME)
