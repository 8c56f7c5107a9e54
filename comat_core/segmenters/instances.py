"""From what a segmenter finds of a noun to single objects: no specks, and none twice."""

from typing import Final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from comat_core.segmenters.instance_settings import InstanceSettings

DEFAULT_INSTANCES: Final = InstanceSettings()


def connected_parts(mask: Tensor) -> Tensor:
    """Take a mask (H, W) apart into its connected parts, (parts, H, W) booleans, the largest first.

    Pixels are neighbours along a side. Objects of one noun that touch are one part.
    """
    labels = np.empty(mask.shape, dtype=np.int32)
    ndimage.label(mask.cpu().numpy(), output=labels)
    parts = labels[None] == np.arange(1, labels.max(initial=0) + 1)[:, None, None]
    order = np.argsort(-parts.sum(axis=(1, 2)), kind="stable")
    return torch.from_numpy(parts[order]).to(mask.device)


def distinct_instances(masks: Tensor, settings: InstanceSettings) -> Tensor:
    """Keep of masks (n, H, W) those that are objects of their own, in their order.

    Args:
        masks: booleans, the surest first: of two that show the same object the first stays.
    """
    flat = masks.flatten(1).float()
    areas = flat.sum(dim=1)
    smaller = torch.minimum(areas[:, None], areas[None, :]).clamp(min=1)
    overlaps = ((flat @ flat.T) / smaller > settings.most_overlap).tolist()
    large_enough = ((areas >= settings.smallest_share * flat.shape[1]) & (areas > 0)).tolist()
    kept: list[int] = []
    for index, is_large in enumerate(large_enough):
        if is_large and not any(overlaps[index][other] for other in kept):
            kept.append(index)
    return masks[kept]
