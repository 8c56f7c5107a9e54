"""The Frechet distance as torchmetrics works it out, on features that are there already.

Numbers that are published as FID come from a library that others use too;
`comat_core.metrics.distances.frechet_comparison` puts intervals around them.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

_ROWS = 4096  # added to the library's sums at a time


class _FeaturesAsTheyAre(nn.Module):
    """Stands in the place of the network whose features were extracted before."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def library_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """Distance between the features of real images (M, D) and generated ones (N, D), M and N at least 2."""
    sets = {True: torch.as_tensor(real).double(), False: torch.as_tensor(generated).double()}
    metric = FrechetInceptionDistance(feature=_FeaturesAsTheyAre(sets[True].shape[1]))
    for is_real, features in sets.items():
        for rows in features.split(_ROWS):
            metric.update(rows, real=is_real)
    return float(metric.compute())
