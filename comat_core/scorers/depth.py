"""How near each pixel is to the viewer, as a monocular depth model sees it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DPTForDepthEstimation

from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.pretrained import load_frozen_model, load_image_processor


class DepthEstimator:
    """A frozen DPT that estimates inverse depth."""

    def __init__(self, model: DPTForDepthEstimation, preprocess: ImagePreprocessing) -> None:
        self.model: Any = model
        self.preprocess = preprocess

    @classmethod
    def load(cls, folder: str, *, revision: str | None = None, device: torch.device | str = "cpu") -> "DepthEstimator":
        """Load a frozen DPT from a folder or hub id.

        Raises:
            UserError: there is no complete checkpoint of that kind, or no image processor beside it.
        """
        model = load_frozen_model(DPTForDepthEstimation, folder, revision=revision, device=device)
        return cls(model, ImagePreprocessing.from_processor(load_image_processor(folder, revision), folder))

    @torch.no_grad()
    def nearness(self, images: Tensor, side: int) -> Tensor:
        """Estimate images (B, 3, H, W) in [0, 1].

        Returns:
            (B, side, side) float32 on the CPU: 0 at the image's farthest point, 1 at its nearest one; 0 everywhere if
            there is no difference.
        """
        inputs = self.preprocess(images.to(self.model.device)).to(self.model.dtype)
        estimated = self.model(pixel_values=inputs).predicted_depth.float()
        low, high = estimated.amin(dim=(-2, -1), keepdim=True), estimated.amax(dim=(-2, -1), keepdim=True)
        relative = (estimated - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)
        resized = functional.interpolate(relative[:, None], (side, side), mode="bilinear", align_corners=True)
        return resized[:, 0].cpu()
