"""What every discriminator offers: logits that tell the reference model's output from the online model's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn


class Discriminator(Protocol):
    """D in the paper: a frozen pretrained network with a small trainable part."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that it stands on, by name, whole: the weights of those that it shares with others included."""
        ...

    @property
    def reads(self) -> Literal["latents", "images"]:
        """What it scores: latents (B, C, h, w) in the denoiser's scale, or images (B, 3, H, W) in [0, 1] with tails."""
        ...

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        """Score a batch, differentiably with respect to the samples.

        Args:
            samples: latents or images, as `reads` says.
            frozen: its own parameters ask for no gradient: the generator's side of the game.

        Returns:
            Logits (B, ...), several per sample; positive means "the reference model's".
        """
        ...

    def score_keeping(self, samples: Tensor) -> Tensor:
        """Score as `score` does, but keep all activations for the backward pass, which needs them at some moment.

        It reads no tensor's value, so that it can be planned on tensors without data.
        """
        ...

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that its optimiser trains and that a checkpoint must hold, by names that do not change."""
        ...


def trainable_state(discriminator: Discriminator) -> dict[str, Tensor]:
    """Copy what has been trained, for a checkpoint."""
    return {name: value.detach().clone() for name, value in discriminator.named_trainable_parameters().items()}


@torch.no_grad()
def load_trainable_state(discriminator: Discriminator, state: Mapping[str, Tensor]) -> None:
    """Put a state of `trainable_state` back in place.

    Raises:
        KeyError: the state is of another discriminator.
    """
    parameters = discriminator.named_trainable_parameters()
    if parameters.keys() != state.keys():
        raise KeyError(f"names in one only: {sorted(parameters.keys() ^ state.keys())}")
    for name, parameter in parameters.items():
        parameter.copy_(state[name])


@contextmanager
def gradient_wanted(parameters: Mapping[str, nn.Parameter], wanted: bool) -> Iterator[None]:
    """Within the context these parameters ask for a gradient, or do not; afterwards as they were found."""
    found = [(parameter, parameter.requires_grad) for parameter in parameters.values()]
    try:
        for parameter, _ in found:
            parameter.requires_grad_(wanted)
        yield
    finally:
        for parameter, flag in found:
            parameter.requires_grad_(flag)
