"""What every text-prompted segmenter offers: where in the image each noun is."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn


class Segmenter(Protocol):
    """A frozen segmenter, S in the paper."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that it is made of, by name."""
        ...

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i].

        Args:
            images: (B, 3, H, W) in [0, 1]; values outside are clamped. No gradient flows.
            nouns: per image any number of nouns or short noun phrases, none included.

        Returns:
            Per image a boolean (number of its nouns, H, W) tensor on the images' device; a noun that is not found has
            an all-false mask.
        """
        ...


class InstanceSegmenter(Segmenter, Protocol):
    """A segmenter that tells the objects of one noun apart, as training asks of it where a prompt names several."""

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Find every single object of nouns[i] in images[i].

        Args:
            images: as those of `segment`.
            nouns: per image any number of different nouns, none included.

        Returns:
            Per image and noun a boolean (objects, H, W) tensor on the images' device, the surest object first; none
            for a noun that is not found.
        """
        ...
