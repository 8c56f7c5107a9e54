"""Frozen models that stay in the CPU's memory and come to the GPU for the length of a call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from comat_core.captioners.protocol import CaptionLikelihood, ImageToText
from comat_core.rewards.protocol import PartedReward, Reward
from comat_core.segmenters.protocol import InstanceSegmenter

HOME = torch.device("cpu")


class _HasNetworks(Protocol):
    @property
    def networks(self) -> Mapping[str, nn.Module]: ...


Model = TypeVar("Model", bound=_HasNetworks)


class _Offloaded(Generic[Model]):
    """A loaded model that has been taken home."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._models = [network.to(HOME) for network in model.networks.values()]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the model, at home."""
        return self.model.networks


class OffloadedCaptioner(_Offloaded[ImageToText]):
    """A captioner that is called twice: for its likelihood, and in the backward pass for the images' gradient.

    Nothing of the first call is kept, so that between the two the GPU holds neither weights nor activations.
    """

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        """Lay out captions for what the visiting captioner does in the backward pass; see `ImageToText`."""
        return self.model.prepare(captions, device)

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        """Score captions[i] on images[i]; see `ImageToText`."""
        masks: list[Tensor] = []

        def score(some_images: Tensor) -> Tensor:
            with visiting(self._models, some_images.device):
                likelihood = self.model.log_likelihood(some_images, captions)
                masks[:] = [likelihood.mask]
                return likelihood.log_probabilities

        def gradient(some_images: Tensor, of_scores: Tensor) -> Tensor:
            with visiting(self._models, some_images.device):
                leaf = some_images.detach().requires_grad_()
                scores = self.model.log_likelihood(leaf, captions).log_probabilities
                return torch.autograd.grad(scores, leaf, of_scores)[0]

        log_probabilities: Any = _Recomputed.apply(images, score, gradient)
        return CaptionLikelihood(log_probabilities, masks[0])


class OffloadedReward(_Offloaded[Reward]):
    """A reward that is called twice, as `OffloadedCaptioner` is."""

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out prompts; see `Reward`."""
        return self._visiting(self.model.prepare(prompts, device))

    def _visiting(self, score_at_home: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def score(images: Tensor) -> Tensor:
            with visiting(self._models, images.device):
                return score_at_home(images)

        def gradient(images: Tensor, of_scores: Tensor) -> Tensor:
            leaf = images.detach().requires_grad_()
            with visiting(self._models, images.device):
                return torch.autograd.grad(score_at_home(leaf), leaf, of_scores)[0]

        def recomputed(images: Tensor) -> Tensor:
            scores: Any = _Recomputed.apply(images, score, gradient)
            return scores

        return recomputed


class OffloadedPartedReward(OffloadedReward):
    """The same of a reward with parts."""

    model: PartedReward

    @property
    def parts(self) -> Sequence[str]:
        """Those of the reward."""
        return self.model.parts

    def prepare_parts(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out prompts; see `PartedReward`."""
        return self._visiting(self.model.prepare_parts(prompts, device))


def offloaded_reward(reward: Reward) -> OffloadedReward:
    """Take a reward home, with its parts if it has any."""
    return OffloadedPartedReward(reward) if isinstance(reward, PartedReward) else OffloadedReward(reward)


class OffloadedSegmenter(_Offloaded[InstanceSegmenter]):
    """A segmenter that is on the GPU only while it segments."""

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`."""
        with visiting(self._models, images.device):
            return self.model.segment(images, nouns)

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Find each object of nouns[i] in images[i]; see `InstanceSegmenter`."""
        with visiting(self._models, images.device):
            return self.model.segment_instances(images, nouns)


class OffloadedNetwork:
    """A network called without a graph, that is on the GPU only while it looks at its input."""

    def __init__(self, network: nn.Module) -> None:
        """Take a loaded network home."""
        self.network = network.to(HOME)

    def __call__(self, images: Tensor) -> Tensor:
        """Call the network on images, on their device."""
        with visiting([self.network], images.device), torch.no_grad():
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
def visiting(models: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Within the context the models are on the device."""
    for model in models:
        model.to(device)
    try:
        yield
    finally:
        for model in models:
            model.to(HOME)
