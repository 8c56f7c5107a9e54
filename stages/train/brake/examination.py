"""An evaluation: validation images drawn with the weights as they are, and what the judges make of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from comat_core.backbones.adapters import active_adapter
from comat_core.metrics.distances.frechet import GaussianSummary, frechet_distance, summarise
from comat_core.support.errors import UserError
from comat_core.training.brake import Evaluation, Measurement, judges_gain, largest_ratio
from stages.batches import in_parts
from stages.evaluate.scoring.images.frechet_features import as_bytes
from stages.evaluate.scoring.images.real_images import RealImages, read_real_images
from stages.train.brake.bench import Bench
from stages.train.brake.settings import BrakeSettings
from stages.train.brake.sharing import gathered, own_rows
from stages.train.brake.validation_set import ValidationPrompt
from stages.train.drawing import draw_images
from stages.train.steps import Run


@dataclass
class Examiner:
    """Draws and judges. Every process of a training has one, and all call it alike."""

    run: Run
    settings: BrakeSettings
    bench: Bench
    prompts: Sequence[ValidationPrompt]

    def measure_base(self) -> Measurement:
        """Judge the base model.

        Raises:
            UserError: a judge can say nothing of any prompt, or the base draws no images.
        """
        with self._base():
            measured = self._measure()
        for name, value in (measured.scores | measured.distances).items():
            if not math.isfinite(value):
                what = f"{name} has no finite number for the base model's images"
                raise UserError(what, "train.brake", "name a judge that can read these prompts and images")
        return measured

    def evaluate(self, step: int, base: Measurement, *, averaged: bool) -> Evaluation:
        """Judge the online model with the weights that it has now."""
        measured = self._measure()
        # A judge that falls silent over images, which is not for the prompt, has given no score.
        scores = {
            name: score if measured.counts[name] == base.counts[name] else math.nan
            for name, score in measured.scores.items()
        }
        weights = {name: judge.weight for name, judge in self.settings.judges.items()}
        return Evaluation(
            step=step,
            averaged=averaged,
            scores=scores,
            distances=measured.distances,
            gain=judges_gain(scores, base, weights),
            ratio=largest_ratio(measured.distances, base),
        )

    @torch.no_grad()
    def _measure(self) -> Measurement:
        scores: dict[str, list[Tensor]] = {name: [] for name in self.bench.judges}
        features: dict[str, list[Tensor]] = {name: [] for name in self.bench.extractors}
        finite = []
        for texts, images in self._drawn([prompt.seed for prompt in self.prompts]):
            finite.append(images.isfinite().all(dim=(1, 2, 3)).float())
            shown = as_bytes(images.nan_to_num().clamp(0, 1))
            with self.run.autocast():
                _add(scores, self.bench.scores_of(shown, texts))
            _add(features, self.bench.features_of(shown))
        if not self._all_of({"finite": finite})["finite"].bool().all():
            unknown = dict.fromkeys(scores, math.nan)
            return Measurement(
                scores=unknown,
                deviations=unknown,
                counts=dict.fromkeys(scores, 0),
                distances=dict.fromkeys(features, math.nan),
            )
        known = {name: values[~values.isnan()].double() for name, values in self._all_of(scores).items()}
        distances = {
            name: frechet_distance(_summary(items), self._references[name])
            for name, items in self._all_of(features).items()
        }
        return Measurement(
            scores={name: values.mean().item() for name, values in known.items()},
            deviations={name: values.std(correction=0).item() for name, values in known.items()},
            counts={name: len(values) for name, values in known.items()},
            distances=distances,
        )

    @cached_property
    def _references(self) -> dict[str, GaussianSummary]:
        """Distance's name -> what it is measured to, the same for all evaluations."""
        real = self.settings.real
        features = self._features_of_base() if real is None else self._features_of(real)
        return {name: _summary(items) for name, items in features.items()}

    @torch.no_grad()
    def _features_of_base(self) -> dict[str, Tensor]:
        """Those of the base's images from other noise."""
        features: dict[str, list[Tensor]] = {name: [] for name in self.bench.extractors}
        with self._base():
            for _, images in self._drawn([prompt.other_seed for prompt in self.prompts]):
                _add(features, self.bench.features_of(as_bytes(images.nan_to_num().clamp(0, 1))))
        return self._all_of(features)

    @torch.no_grad()
    def _features_of(self, real: RealImages) -> dict[str, Tensor]:
        """Those of real images, by every process alike."""
        config = self.run.config
        features: dict[str, list[Tensor]] = {name: [] for name in self.bench.extractors}
        for numbers in in_parts(range(real.count), self.settings.batch_size):
            pixels = np.stack(list(read_real_images(real, config.seed, config.resolution, numbers)))
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.run.accelerator.device)
            _add(features, self.bench.features_of(images))
        return {name: torch.cat(parts) for name, parts in features.items()}

    def _drawn(self, seeds: Sequence[int]) -> Iterator[tuple[list[str], Tensor]]:
        """This process's prompts and their images (B, 3, H, W), batch after batch."""
        for rows in in_parts(own_rows(len(self.prompts), self.run.accelerator), self.settings.batch_size):
            texts = [self.prompts[row].text for row in rows]
            with self.run.autocast():
                images = draw_images(self.run.models, self.run.config, texts, [seeds[row] for row in rows])
            yield texts, images.float()

    def _all_of(self, parts: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
        total, accelerator = len(self.prompts), self.run.accelerator
        return {name: gathered(torch.cat(values), total, accelerator) for name, values in parts.items()}

    def _base(self) -> AbstractContextManager[None]:
        return active_adapter(self.run.models.online.denoiser, None)


def _add(parts: Mapping[str, list[Tensor]], found: Mapping[str, Tensor]) -> None:
    for name, values in found.items():
        parts[name].append(values)


def _summary(items: Tensor) -> GaussianSummary:
    """The Gaussian of the items (N, n, D) of N images."""
    return summarise(items.flatten(0, 1).numpy())
