"""Qwen2.5-VL and Qwen3-VL: images at about their own size, as patches in rows of a merged grid."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

from comat_core.chat_models.chat_model import ChatModel, SeenImages
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.memory.activation_memory import with_data


@dataclass(frozen=True)
class PatchPreprocessing:
    """Sides to whole merged patches, as many pixels as the limits allow; then normalised and cut into patches."""

    square: ImagePreprocessing
    """How an image of one image token would be prepared; larger ones are alike in all but their size."""
    pixels: tuple[int, int]
    """The fewest and the most that an image may have, whatever its shape."""
    patch: int
    """Pixels along a patch's side."""
    merge: int
    """Patches along the side of the square that becomes one image token."""
    frames: int
    """A still image is shown to the tower as that many equal frames."""

    @classmethod
    def from_processor(cls, image_processor: Any, where: str) -> "PatchPreprocessing":
        """Read the settings of a checkpoint's own image processor.

        Raises:
            UserError: the processor does something that this class cannot reproduce.
        """
        size, side = image_processor.size, image_processor.patch_size * image_processor.merge_size
        return cls(
            square=ImagePreprocessing.from_processor(image_processor, where, size=(side, side)),
            pixels=(size["shortest_edge"], size["longest_edge"]),
            patch=image_processor.patch_size,
            merge=image_processor.merge_size,
            frames=image_processor.temporal_patch_size,
        )

    @property
    def most_image_tokens(self) -> int:
        """How many merged patches the largest image has."""
        return self.pixels[1] // (self.patch * self.merge) ** 2

    def size(self, height: int, width: int) -> tuple[int, int]:
        """To which height and width an image is brought."""
        fewest, most = self.pixels
        return smart_resize(height, width, self.patch * self.merge, fewest, most)

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) images in [0, 1] into (B, P, 3 x frames x patch x patch) patches.

        Patches come square by square, as they are merged, and row by row within a square.
        """
        height, width = self.size(*images.shape[-2:])
        pixels = replace(self.square, size=(height, width))(images)
        across, down = width // (self.patch * self.merge), height // (self.patch * self.merge)
        squares = pixels.reshape(len(pixels), 3, down, self.merge, self.patch, across, self.merge, self.patch)
        patches = squares.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)
        patches = patches.expand(*patches.shape[:6], self.frames, self.patch, self.patch)
        return patches.reshape(len(pixels), down * across * self.merge**2, -1)


class QwenVisionLanguage(ChatModel):
    """What Qwen2.5-VL and Qwen3-VL have in common: patches, and positions in time, height and width (m-RoPE)."""

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        super().__init__(model, processor)
        self._layouts: dict[tuple[Any, ...], dict[str, Any]] = {}

    @classmethod
    def preprocessing_of(cls, image_processor: Any, where: str) -> PatchPreprocessing:
        """Read how the checkpoint's own processor prepares an image."""
        return PatchPreprocessing.from_processor(image_processor, where)

    @property
    def most_image_tokens(self) -> int:
        """As many as the processor's largest image has."""
        return self.preprocess.most_image_tokens

    def see(self, images: Tensor) -> SeenImages:
        """Show the images' patches to the vision tower; see `ChatModel`."""
        patches = self.preprocess(images).to(self.model.dtype)
        height, width = self.preprocess.size(*images.shape[-2:])
        sides = height // self.preprocess.patch, width // self.preprocess.patch
        tower = self.model.model.visual
        grid, layout = self._layout(len(images), *sides, images.device)
        found = tower(patches.flatten(0, 1), grid_thw=grid, **layout)
        merge, count = self.preprocess.merge, len(images)

        def by_image(features: Tensor) -> Tensor:
            return features.reshape(count, -1, features.shape[-1])

        deeper = tuple(map(by_image, getattr(found, "deepstack_features", ())))
        return SeenImages(by_image(found.pooler_output), (sides[0] // merge, sides[1] // merge), deeper)

    @abstractmethod
    def tower_layout(self, grid: Tensor) -> dict[str, Any]:
        """What the vision tower derives from the images' grids (B, 3) beside positions and lengths."""

    def positions(self, seen: SeenImages, batch: int, length: int) -> Tensor:
        """(3, B, T): text counts on by ones; an image has its start in time, and its rows and columns from there."""
        rows, columns = seen.grid
        device, start = seen.features.device, self.image_column
        down, across = torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        )
        image = torch.stack([torch.zeros_like(down), down, across]).flatten(1) + start
        before = torch.arange(start, device=device).expand(3, -1)
        after = torch.arange(length - start - rows * columns, device=device).expand(3, -1) + start + max(rows, columns)
        return torch.cat([before, image, after], dim=1)[:, None].expand(3, batch, length)

    def _layout(self, count: int, height: int, width: int, device: torch.device) -> tuple[Tensor, dict[str, Any]]:
        """The images' grids, and what the tower derives from them: values, which are computed in planning as well.

        The sequences' ends are given as an array of numpy: the tower's attention reads them in every layer, and as a
        tensor of a GPU that would wait for the GPU as often.
        """
        key = (count, height, width, device)
        if key not in self._layouts:
            with with_data():
                grid = torch.tensor([[1, height, width]] * count, device=device)
                layout = {
                    "position_ids": get_vision_position_ids(grid, self.preprocess.merge),
                    "cu_seqlens": get_vision_cu_seqlens(grid).cpu().numpy(),
                    **self.tower_layout(grid),
                }
                self._layouts = {key: {"grid": grid, **layout}}
        layout = dict(self._layouts[key])
        return layout.pop("grid"), layout


class Qwen25VisionLanguage(QwenVisionLanguage):
    """Qwen2.5-VL: most layers of its vision tower attend within windows."""

    model_class = Qwen2_5_VLForConditionalGeneration

    def tower_layout(self, grid: Tensor) -> dict[str, Any]:
        """Which patches share a window."""
        vision = self.model.config.vision_config
        order, ends = get_vision_window_index(
            grid, vision.spatial_merge_size, window_size=vision.window_size, patch_size=vision.patch_size
        )
        return {"window_index": order.to(grid.device), "cu_window_seqlens": ends.cpu().numpy()}


class Qwen3VisionLanguage(QwenVisionLanguage):
    """Qwen3-VL: features of several depths of its vision tower enter the decoder's first layers."""

    model_class = Qwen3VLForConditionalGeneration

    def tower_layout(self, grid: Tensor) -> dict[str, Any]:
        """How the tower's learned positions are stretched to the grid."""
        tower = self.model.model.visual
        indices, weights = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=self.preprocess.merge,
        )
        return {"interp_indices": indices, "interp_weights": weights}

    def deeper_features(self, seen: SeenImages, length: int) -> AbstractContextManager[None]:
        """Add each depth's features behind its layer of the decoder; see `ChatModel`.

        The model's own way writes through a boolean mask, whose values planning does not have.
        """
        column = self.image_column
        margins = (0, 0, column, length - column - seen.features.shape[1])
        added = [functional.pad(features, margins) for features in seen.deeper]
        return _added_behind(self.model.model.language_model.layers, added)


@contextmanager
def _added_behind(layers: nn.ModuleList, added: list[Tensor]) -> Iterator[None]:
    """Within the context, the i-th layer's output is the sum of what it was and added[i]."""

    def plus(features: Tensor, _layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output + features.to(output.dtype)

    with ExitStack() as stack:
        for layer, features in zip(layers, added, strict=False):
            stack.callback(layer.register_forward_hook(partial(plus, features)).remove)
        yield
