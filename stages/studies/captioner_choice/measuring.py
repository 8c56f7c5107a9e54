"""Ask captioners about the same real images, their captions and corrupted forms of these."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from comat_core.metrics.bootstrap import Estimate, bootstrap_mean, make_numpy_generator
from comat_core.support.errors import UserError
from stages.evaluate.sensitivity import METRIC, SensitivityConfig, count_real_shards, real_images, score_images
from stages.models.captioners import CaptionerSettings
from stages.models.devices import choose_device
from stages.models.hub import cached_folder
from stages.models.model_checks import check_folder
from stages.models.model_references import Use
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Candidate:
    """A captioner that may be trained with."""

    captioning: CaptionerSettings
    checkpoint: ModelReference

    @property
    def name(self) -> str:
        """As `--captioner` names it."""
        return f"{self.captioning.kind}={self.checkpoint.path}"

    def check(self) -> None:
        """Make sure that what of it is on this machine can be used, before another candidate is measured.

        Raises:
            UserError: it cannot.
        """
        folder = self.checkpoint.local_path() or cached_folder(self.checkpoint.path, self.checkpoint.revision)
        if folder is not None:
            check_folder(folder, Use.NETWORK)


@dataclass(frozen=True)
class Respect:
    """One way in which texts are wrong, and how a captioner takes it."""

    name: str
    sensitivity: Estimate
    """Equation 7's mean."""
    preference: Estimate
    """Share of the images whose right text is likelier than the wrong one; 0.5 by chance."""
    prefers: dict[str, bool]
    """Image -> whether it is."""


@dataclass(frozen=True)
class Measured:
    """A candidate, and every respect in which some text could be corrupted, by name."""

    candidate: Candidate
    respects: dict[str, Respect]

    @property
    def weakest(self) -> Respect:
        """The respect in which it tells right from wrong least certainly."""
        return min(self.respects.values(), key=lambda respect: respect.preference.low)

    def as_json(self) -> dict[str, Any]:
        """What is printed of it, by name."""
        respects = {
            name: {METRIC: asdict(respect.sensitivity), "preference": asdict(respect.preference)}
            for name, respect in self.respects.items()
        }
        return {"captioner": self.candidate.name, "weakest": self.weakest.name, "respects": respects}


def measure_captioners(
    config: SensitivityConfig, candidates: Sequence[Candidate], dtype: "torch.dtype"
) -> list[Measured]:
    """Measure each candidate on the config's real images; one is in memory at a time.

    Args:
        config: whose captioner is not asked.
        dtype: of the candidates' weights.

    Raises:
        UserError: a checkpoint or the images cannot be read, or no caption holds anything to corrupt.
    """
    for candidate in candidates:
        candidate.check()
    config.fetch_files()
    parts = [real_images(config, part) for part in range(count_real_shards(config, {}))]
    measured = []
    for candidate in candidates:
        captioner = candidate.captioning.load(candidate.checkpoint, dtype=dtype, device=choose_device(config.device))
        rows = [row for images, wordings in parts for row in score_images(images, wordings, captioner, config)]
        if not rows:
            problem = f"no caption of the {config.real.count} images holds anything to corrupt"
            raise UserError(problem, config.real.source, "choose more images, or others")
        measured.append(Measured(candidate, respects_of(rows, config)))
    return measured


def respects_of(rows: Sequence[dict[str, Any]], config: SensitivityConfig) -> dict[str, Respect]:
    """Summarise one captioner's rows of the sensitivity's table, respect by respect.

    All candidates' intervals come from the same resamples of the images.
    """
    found = {}
    for name in sorted({row["corruption"] for row in rows}):
        own = [row for row in rows if row["corruption"] == name]
        owners, values = [row["prompt_id"] for row in own], [row[METRIC] for row in own]
        prefers = [value > 0 for value in values]
        sensitivity, preference = (
            bootstrap_mean(
                [float(value) for value in chosen],
                owners,
                make_numpy_generator(config.seed, f"captioners, {name}"),
                resamples=config.resamples,
            )
            for chosen in (values, prefers)
        )
        found[name] = Respect(name, sensitivity, preference, dict(zip(owners, prefers, strict=True)))
    return found
