"""Where the objects of a prompt are in its images, beside where its words look: the paper's Figure 6."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.attention.layers import NOUN
from stages.attention.recording import SIDE
from stages.attention.words import Word
from stages.images.png import decode_png
from stages.studies.figures.shown_prompts import ShownPrompt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from comat_core.segmenters.protocol import Segmenter


def noun_of(word: Word, parsed: Sequence[Word]) -> Word | None:
    """The noun of the object that a word names or describes; None if it does neither.

    Args:
        parsed: each object's attributes, if any, and then its noun.
    """
    tokens = set(word.tokens)
    for number, other in enumerate(parsed):
        if tokens <= set(other.tokens):
            return next((one for one in parsed[number:] if one.role == NOUN), None)
    return None


def find_masks(segmenter: "Segmenter", prompt: ShownPrompt) -> "dict[str, list[NDArray[np.bool_] | None]]":
    """Model -> for each of the prompt's words its object's mask (H, W) in that model's image.

    A mask is all false where the segmenter does not find the object, and None for a word of no object.
    """
    import numpy as np
    import torch

    owners = [noun_of(word, prompt.parsed) for word in prompt.words]
    nouns = list(dict.fromkeys(noun.text for noun in owners if noun is not None))
    pixels = np.stack([np.asarray(decode_png(one.png)) for one in prompt.recordings.values()])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    masks = segmenter.segment(images, [nouns] * len(images))
    return {
        model: [None if noun is None else of_image[nouns.index(noun.text)].cpu().numpy() for noun in owners]
        for model, of_image in zip(prompt.recordings, masks, strict=True)
    }


def share_inside(heat: "NDArray[np.float32]", mask: "NDArray[np.bool_]") -> float:
    """Which part of a map (SIDE, SIDE) lies on a mask (H, W)."""
    import numpy as np
    from PIL import Image

    resized = np.asarray(Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    return float(heat[resized].sum() / max(float(heat.sum()), 1e-12))
