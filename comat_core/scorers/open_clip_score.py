"""A CLIP of the open_clip package, such as HPS v2.1, which was trained on what people prefer (arXiv 2306.09341).

Importing this module imports that package, which is an extra.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import get_model_preprocess_cfg
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import InterpolationMode

from comat_core.segmenters.checkpoints import put_weights, read_checkpoint
from comat_core.support.errors import UserError
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.loading_errors import loading_errors_told

PREFIX = "module."
"""Of every weight's name in files that several processes trained."""


class OpenClipScorer:
    """A frozen model that places images and texts in one space.

    Args:
        model: of open_clip, in evaluation mode.
        architecture: its name there.
    """

    def __init__(self, model: Any, architecture: str) -> None:
        self.model = model
        self.preprocess = preprocessing_of(model, architecture)
        self.tokenize: Any = open_clip.get_tokenizer(architecture)

    @classmethod
    def load(
        cls,
        path: str,
        *,
        architecture: str,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "OpenClipScorer":
        """Load a file of weights, from torch.save or safetensors; nothing in it is run.

        Args:
            architecture: one of `open_clip.list_models()`.

        Raises:
            UserError: there is no such architecture, or the file is damaged or of another one.
        """
        if architecture not in open_clip.list_models():
            raise UserError(f"open_clip knows no architecture {architecture!r}", path, "name one that it lists")
        # Random weights, which the file's replace; nothing is downloaded.
        model = open_clip.create_model(architecture, load_weights=False, pretrained_text=False)
        put_weights(model, _read_weights(path), path)
        return cls(model.requires_grad_(False).eval().to(device=device, dtype=dtype), architecture)

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Compare texts[i] with images[i], differentiably.

        Args:
            images: (B, 3, H, W) in [0, 1].
            texts: B texts; what the text encoder cannot read of a long one is cut.

        Returns:
            (B,) float32 in [-1, 1].
        """
        assert len(images) == len(texts), f"{len(images)} images for {len(texts)} texts"
        tokens = self.tokenize(list(texts)).to(images.device)
        seen = self.model.encode_image(self.preprocess(images).to(self.model.logit_scale.dtype))
        return functional.cosine_similarity(seen.float(), self.model.encode_text(tokens).float())


def preprocessing_of(model: Any, architecture: str) -> ImagePreprocessing:
    """What the package does to an image for this model, as tensor operations.

    Raises:
        UserError: it is something else than to resize the shorter side, crop the centre and normalise.
    """
    settings: dict[str, Any] = {"resize_mode": "shortest", "interpolation": "bicubic"}
    settings |= get_model_preprocess_cfg(model)
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if settings["resize_mode"] != "shortest" or settings["interpolation"] != "bicubic" or height != width:
        what = f"open_clip prepares images for {architecture} in a way that is not known here"
        raise UserError(what, architecture, "choose a model that resizes the shorter side and crops a square")
    return ImagePreprocessing(
        size=height,
        crop=(height, width),
        interpolation=InterpolationMode.BICUBIC,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )


def _read_weights(path: str) -> dict[str, Tensor]:
    if Path(path).suffix == ".safetensors":
        with loading_errors_told("cannot read the checkpoint", path, "download the published file again"):
            content = load_file(path)
    else:
        content = read_checkpoint(path)
    weights = content.get("state_dict", content)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError("the file holds no state dict", path, "use the published checkpoint")
    return {str(name).removeprefix(PREFIX): value for name, value in weights.items()}
