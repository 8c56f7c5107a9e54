"""What an audit will take, told before it starts: images, passes of the networks, disk, and what is to be fetched."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from comat_core.support.errors import UserError
from stages.batches import AUTO, fitting_size
from stages.doctor.disk import PNG_SHARE, count_prompts, nearest_folder
from stages.doctor.findings import gigabytes
from stages.evaluate.declared.benchmark import Benchmark
from stages.evaluate.declared.registry import benchmarks, in_official_mode
from stages.images.image_rows import image_seed
from stages.images.other_generators import Painter, opened
from stages.images.other_images import OtherImagesConfig
from stages.models.hub import Presence
from stages.models.needed_models import needed_models
from stages.plan.dag import AUDIT
from stages.plan.presets import Preset
from stages.prompts.config import PromptsConfig
from stages.store.store import Store
from stages.studies.audit.samplers import Sampler, sampler_of

MEASURED_STEPS: Final = 2
MEASURED_PROMPT: Final = "a photograph"


@dataclass(frozen=True)
class DrawnImages:
    """The images of one model."""

    config: OtherImagesConfig
    sampler: Sampler | None
    counts: Mapping[str, int]
    """Split -> images."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def drawn_images(preset: Preset) -> dict[str, DrawnImages]:
    """Name in the plan -> the images that an audit's preset has drawn by it.

    Prompts are counted as the registry says; those of files without a count are not known here.

    Raises:
        UserError: a pipeline cannot be had, or is none.
    """
    prompts = preset.sections["prompts"]
    assert isinstance(prompts, PromptsConfig)
    found = {}
    for role in ("base", "tuned"):
        config = preset.sections.get(AUDIT.format(model=role))
        if isinstance(config, OtherImagesConfig):
            counts = {split: count_prompts(prompts.evaluation, split) * each for split, each in config.samples.items()}
            found[role] = DrawnImages(config, sampler_of(config.generator), counts)
    return found


def estimate(preset: Preset, drawn: Mapping[str, DrawnImages], names: Mapping[str, str], store: Store) -> list[str]:
    """Lines for the reader.

    Args:
        names: name in the plan -> of the model, for the reader.
    """
    resolution = preset.shared.resolution
    size = int(sum(one.total for one in drawn.values()) * resolution**2 * 3 * PNG_SHARE)
    return [
        *(_line("images", _told(names[role], one)) for role, one in drawn.items()),
        *(_line("scores", told) for told in _scores(preset, drawn)),
        _line("models", _models(preset)),
        _line("disk", f"about {gigabytes(size)} of images at {resolution} px; {_free(store)}"),
    ]


def measured_seconds(one: DrawnImages) -> float | None:
    """Seconds that drawing will take, by one batch of a few steps; None for a folder of images.

    The pipeline, with its LoRA if it has one, is loaded for it, so what does not fit is told.

    Raises:
        UserError: it cannot be loaded, or does not draw.
    """
    if one.sampler is None:
        return None
    steps = one.sampler.num_inference_steps or 1
    few = min(MEASURED_STEPS, steps)
    generator = one.config.generator.model_copy(update={"num_inference_steps": few})
    with opened(generator, one.config.device) as painter:
        batch = _size_of_batches(one, painter)
        seeds = [image_seed(one.config.seed, MEASURED_PROMPT, sample) for sample in range(batch)]
        started = time.monotonic()
        painter.draw([MEASURED_PROMPT] * batch, seeds)
        return (time.monotonic() - started) / batch * steps / few * one.total


def _size_of_batches(one: DrawnImages, painter: Painter) -> int:
    """How many images are drawn at once. One is drawn now, which pays for what is loaded late."""
    from comat_core.support.memory.live_bytes import LiveBytes

    with LiveBytes() as taken:
        painter.draw([MEASURED_PROMPT], [0])
    size = one.config.batch_size
    return min(fitting_size(taken.peak) if size == AUTO else size, one.total)


def as_seconds(model: str, seconds: float) -> str:
    """A measurement for the reader."""
    for unit, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= unit:
            return _line("time", f"{model}: about {seconds / unit:,.1f} {name} of drawing, and the scores on top")
    return _line("time", f"{model}: about {seconds:.0f} s of drawing, and the scores on top")


def _told(name: str, one: DrawnImages) -> str:
    counts = ", ".join(f"{split} {count:,}" for split, count in sorted(one.counts.items()))
    if one.sampler is None:
        return f"{name}: {one.total:,} are read ({counts})"
    passes = one.total * one.sampler.passes
    twice = ", twice for guidance" if one.sampler.is_guided else ""
    return f"{name}: {one.total:,} ({counts}), {passes:,} passes of its denoiser{twice}; {one.sampler}"


def _scores(preset: Preset, drawn: Mapping[str, DrawnImages]) -> Iterator[str]:
    models = len(drawn)
    for one in (*benchmarks(), *in_official_mode()):
        config = preset.sections.get(one.node)
        if config is None or one.scores is None:
            continue
        images = sum(of_model.counts.get(one.split, 0) for of_model in drawn.values())
        skills = getattr(config, "skills", None)
        most = "at most " if skills else ""
        yield f"{one.name}{_mode(one, preset)}: {most}{images:,} images of {models} model{'s' if models > 1 else ''}"


def _mode(one: Benchmark, preset: Preset) -> str:
    mode = getattr(preset.sections[one.node], "mode", None)
    return f" ({mode} mode)" if mode else ""


def _models(preset: Preset) -> str:
    needed = needed_models([preset])
    absent = [one for one in needed if one.presence.startswith((str(Presence.MISSING), str(Presence.PARTLY)))]
    unusable = next((one for one in needed if "unusable" in one.presence), None)
    if unusable is not None:
        raise UserError(f"{unusable.name}: {unusable.presence}", ", ".join(unusable.roles), "correct it")
    size = gigabytes(sum(one.size or 0 for one in needed))
    fetched = gigabytes(sum(one.size or 0 for one in absent))
    return f"{len(needed)} are read, {size} where known; {len(absent)} of them are fetched first, {fetched}"


def _free(store: Store) -> str:
    place = store.root.local
    if place is None:
        return f"see that {store.url} has room"
    return f"{gigabytes(shutil.disk_usage(nearest_folder(place)).free)} are free at {place}"


def _line(subject: str, told: str) -> str:
    return f"{subject:<8} {told}"
