"""Real images with captions: what every source of them is, and the miniature world's own scenes.

The others are `coco_folder`, `webdataset` and `aro` beside it. Pairs are numbered, and any can be read alone.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from comat_core.support.errors import UserError


@dataclass(frozen=True)
class RealPair:
    """One image (RGB, any size) with one or more captions, and a wrong one where the source has it."""

    pair_id: str
    captions: tuple[str, ...]
    image: Image.Image
    wrong_caption: str | None = None


class PairSource(Protocol):
    """Numbered pairs."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> RealPair:
        """Read pair number `index`.

        Raises:
            UserError: its image is missing or cannot be decoded.
        """
        ...

    def identity(self) -> Any:
        """A JSON value that changes when the pairs do, wherever they lie."""
        ...


class MiniatureWorld:
    """Scenes of the base world with captions that leave nothing out.

    Args:
        seed: of the world.
        count: how many pairs there are.
        side: of an image in pixels.
        split: "train", or "validation" for pairs that no training sees.

    Raises:
        UserError: the world's images have another size.
    """

    def __init__(self, seed: int, count: int, side: int, split: str = "train") -> None:
        from data.miniature_world.vocabulary import IMAGE_SIZE

        if side != IMAGE_SIZE:
            advice = f"set resolution to {IMAGE_SIZE}, or name a folder of real images"
            raise UserError(f"the miniature world has no images of {side} px", "pairs", advice)
        self.seed = seed
        self.count = count
        self.split = split

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> RealPair:
        from data.miniature_world.pairs import base_world_pair

        image, caption = base_world_pair(self.seed, self.split, index)
        return RealPair(f"miniature:{index}", (caption,), Image.fromarray(image))

    def identity(self) -> Any:
        return [self.seed, self.count]


def caption_text(text: str) -> str:
    """A caption on one line; empty if it holds nothing that can be read."""
    return " ".join(text.replace("\ufeff", "").split())
