"""The preset of an audit: another preset's prompts and benchmarks, with what is audited in the place of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from comat_core.support.errors import UserError
from stages.evaluate.declared.benchmark import OFFICIAL, Benchmark
from stages.evaluate.declared.registry import benchmarks, in_official_mode
from stages.evaluate.scoring.settings import EvaluationConfig
from stages.images import ImagesConfig
from stages.images.image_rows import ImagesToDraw
from stages.images.other_images import OtherImagesConfig
from stages.plan.config import StageConfig
from stages.plan.dag import AUDIT
from stages.plan.presets import Preset
from stages.prompts.config import PromptsConfig, PromptSelection
from stages.studies.audit.subjects import Subject

Modes = Literal["both", "official", "corrected"]


@dataclass(frozen=True)
class Request:
    """What is to be measured of whom.

    Attributes:
        model: what is audited.
        against: what it is compared with, if anything.
        benchmarks: by name; none for all that apply.
        modes: of the protocols that have two.
        prompts: at most so many of each set of prompts; None for all.
    """

    model: Subject
    against: Subject | None = None
    benchmarks: tuple[str, ...] = ()
    modes: Modes = "both"
    prompts: int | None = None

    @property
    def by_role(self) -> dict[str, Subject]:
        """Name in the plan -> who plays it: what is compared with is the base of every change."""
        return {"base": self.model} if self.against is None else {"base": self.against, "tuned": self.model}


def compose_audit(preset: Preset, request: Request) -> Preset:
    """Make the preset of an audit.

    Args:
        preset: whose prompts, benchmarks with their models, numbers of images and seed are taken.

    Raises:
        UserError: a benchmark is unknown, does not apply, or the preset has no settings for it.
    """
    images, prompts = preset.sections.get("images"), preset.sections.get("prompts")
    if not isinstance(images, ImagesConfig) or not isinstance(prompts, PromptsConfig):
        raise UserError("the preset is an audit itself", "--preset", "name one that trains: its benchmarks are taken")
    chosen = choose_benchmarks(preset, request.benchmarks)
    drawn = {one.split for one in chosen}
    absent = sorted(drawn - set(images.samples))
    if absent:
        advice = f"say how many with --set images.samples.{absent[0]}=N"
        raise UserError(f"the preset draws no images of the split {absent[0]!r}", "--benchmarks", advice)
    names = {role: subject.name for role, subject in request.by_role.items()}
    title = " against ".join([request.model.name, *([request.against.name] if request.against else [])])
    shared = preset.shared.model_copy(update={"models": {}, "description": f"audit: {title}"})
    report = preset.sections["report"].model_copy(update={"title": title[:200], "names": names})
    sections: dict[str, StageConfig] = {
        "prompts": _prompts(prompts, drawn, request.prompts),
        **{AUDIT.format(model=role): _drawn_by(one, images, drawn) for role, one in request.by_role.items()},
        **_evaluations(preset, chosen, request.modes),
        "report": report,
    }
    return Preset(name=f"audit of {title}", shared=shared, sections=sections)


def choose_benchmarks(preset: Preset, names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, with those that they read; without names all that the preset has settings for.

    Raises:
        UserError: one is unknown, measures no model that draws, or the preset has no settings for it; or none looks at
            single images.
    """
    known = {one.name: one for one in benchmarks()}
    apply = [
        one.name for one in known.values() if not one.of_training and not one.of_models and one.node in preset.sections
    ]
    chosen = list(names) or apply
    for name in chosen:
        if name not in known:
            raise UserError(f"there is no benchmark {name!r}", "--benchmarks", f"choose from {', '.join(apply)}")
        if known[name].of_training:
            problem = f"{name} measures the model that rewards a training, and not one that draws"
            raise UserError(problem, "--benchmarks", f"choose from {', '.join(apply)}")
        if known[name].of_models:
            problem = f"{name} takes gradients through a model, and an audit looks at images alone"
            raise UserError(problem, "--benchmarks", f"choose from {', '.join(apply)}")
        if known[name].node not in preset.sections:
            problem = f"the preset {preset.name} has no settings for {name}"
            raise UserError(problem, "--benchmarks", f"choose from {', '.join(apply)}, or another --preset")
    if all(not known[name].of_single_images for name in chosen):
        problem = f"the report shows images one by one, and {', '.join(chosen)} measures sets of them alone"
        alone = ", ".join(name for name in apply if known[name].of_single_images)
        raise UserError(problem, "--benchmarks", f"name one of these beside it: {alone}")
    read = {node for name in chosen for node in known[name].inputs.values()}
    return [one for one in known.values() if one.name in chosen or (one.name in apply and one.node in read)]


def _prompts(prompts: PromptsConfig, drawn: set[str], most: int | None) -> PromptsConfig:
    """Those that are drawn, and the training sources, in which they are looked for."""

    def limited(selection: PromptSelection) -> PromptSelection:
        counts = [count for count in (selection.count, most) if count is not None]
        return selection.model_copy(update={"count": min(counts, default=None)})

    selections = tuple(limited(one) for one in prompts.evaluation if one.split in drawn)
    return prompts.model_copy(update={"evaluation": selections})


def _drawn_by(subject: Subject, images: ImagesConfig, drawn: set[str]) -> OtherImagesConfig:
    shared: dict[str, Any] = {name: getattr(images, name) for name in ImagesToDraw.model_fields}
    shared["samples"] = {split: count for split, count in images.samples.items() if split in drawn}
    return OtherImagesConfig(generator=subject.generator, **shared)


def _evaluations(preset: Preset, chosen: Sequence[Benchmark], modes: Modes) -> Mapping[str, StageConfig]:
    """The benchmarks' settings; of protocols with two modes once more for the official one, if both are wanted."""
    found: dict[str, StageConfig] = {}
    twice = {one.name: one.node for one in in_official_mode()}
    for one in chosen:
        config = preset.sections[one.node]
        if isinstance(config, EvaluationConfig):
            config = config.model_copy(update={"leakage_free": True})
        if not one.has_modes:
            found[one.node] = config
            continue
        found[one.node] = config.model_copy(update={"mode": "corrected" if modes == "both" else modes})
        if modes == "both":
            found[twice[one.name]] = config.model_copy(update={"mode": OFFICIAL})
    return found
