"""What a diffusers pipeline's model_index.json names, and what of it may be loaded.

The file says which class of which library each part is. It comes with the checkpoint, and a library imported because
a checkpoint names it would run whatever code stands there; so everything in it is compared with lists of what there
may be, before any of it is looked up. Nothing here imports a model library.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_BETAS, SCHEDULERS_OF_FLOWS, walks_flow
from comat_core.backbones.families import FAMILIES
from comat_core.backbones.family import Family
from comat_core.files.paths import path_exists
from comat_core.support.checkpoint_files import DIFFUSERS_STEM, TRANSFORMERS_STEM, Network, read_config
from comat_core.support.errors import UserError

INDEX_FILE: Final = "model_index.json"
LIBRARIES: Final = frozenset({"diffusers", "transformers"})
PIPELINE_MODULES: Final = frozenset(
    {"deepfloyd_if", "flux", "kandinsky", "kolors", "latent_diffusion", "stable_diffusion"}
)
"""Modules of diffusers' pipelines that define parts of text-to-image pipelines themselves."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NOT_NETWORKS: Final = ("Tokenizer", "TokenizerFast", "Scheduler", "Extractor", "Processor", "ProcessorFast")
_WITHOUT_FOREIGN_CODE: Final = "use a checkpoint whose parts are classes of diffusers and transformers"


@dataclass(frozen=True)
class Part:
    """One component of a pipeline: which class of which library it is."""

    name: str
    library: str
    class_name: str

    @property
    def is_network(self) -> bool:
        """Whether it has weights."""
        return not self.class_name.endswith(_NOT_NETWORKS)

    def network(self, folder: Path) -> Network:
        """Its files, in the pipeline's folder."""
        stems = {"diffusers": (DIFFUSERS_STEM,), "transformers": (TRANSFORMERS_STEM,)}
        both = (DIFFUSERS_STEM, TRANSFORMERS_STEM)
        return Network(f"its {self.name}", folder / self.name, stems.get(self.library, both))


@dataclass(frozen=True)
class PipelineIndex:
    """A pipeline's class and its parts, all of them of the libraries that may be used."""

    kind: str
    parts: dict[str, Part]


def read_index(folder: Path) -> PipelineIndex:
    """Read and check the index of a pipeline's folder.

    Raises:
        UserError: there is none, it is damaged, or it names code that is not part of the libraries.
    """
    index = check_index(read_config(folder / INDEX_FILE), str(folder))
    # The library would import these in the place of its own modules.
    shadows = [folder / "None.py", *(folder / part.name / f"{part.library}.py" for part in index.parts.values())]
    for shadow in shadows:
        if path_exists(shadow):
            raise UserError(f"the checkpoint brings code of its own, {shadow.name}", str(shadow.parent), "remove it")
    return index


def check_index(config: Mapping[str, Any], where: str) -> PipelineIndex:
    """Check what an index names.

    Args:
        config: the JSON object.
        where: the checkpoint, for the reader.

    Raises:
        UserError: it names code that is not part of the libraries, or is damaged.
    """
    kind = config.get("_class_name")
    if not isinstance(kind, str) or not _IDENTIFIER.fullmatch(kind):
        raise UserError(f"the pipeline's class is {kind!r}, no class of diffusers", where, _WITHOUT_FOREIGN_CODE)
    parts = {}
    for name, value in config.items():
        if isinstance(value, list) and value and (value[0] is None or isinstance(value[0], str)):
            part = _check_part(name, value, where)
            if part is not None:
                parts[name] = part
    return PipelineIndex(kind, parts)


def family_of(index: PipelineIndex, where: str) -> Family:
    """Find the family that a pipeline is of.

    Raises:
        UserError: its kind cannot be trained.
    """
    if index.kind not in FAMILIES:
        supported = f"use one of: {', '.join(sorted(FAMILIES))}"
        problem = NOT_TRAINABLE.get(index.kind, "which is not supported")
        raise UserError(f"the checkpoint is a {index.kind}, {problem}", where, supported)
    return FAMILIES[index.kind]


def check_backbone(index: PipelineIndex, where: str, given: Container[str] = ()) -> None:
    """Make sure that a pipeline is of a kind that can be trained, and each part of the class that kind has.

    Args:
        given: names of the parts that are loaded from elsewhere.

    Raises:
        UserError: the pipeline's kind is not supported; a part is missing or of another class.
    """
    family = family_of(index, where)
    for name, classes in family.parts.items():
        part = index.parts.get(name)
        if name in given or (part is None and name in family.optional_parts):
            continue
        if part is None:
            raise UserError(f"the checkpoint has no {name}", where, "use a complete text-to-image checkpoint")
        if part.class_name not in classes:
            raise _of_another_class(part, classes, where)


def check_schedule(folder: Path, kind: str) -> None:
    """Make sure that the noise levels of a checkpoint's own scheduler are of the kind that its pipeline's class has.

    Args:
        kind: of the pipeline, one that can be trained.

    Raises:
        UserError: they are not.
    """
    classes = FAMILIES[kind].parts["scheduler"]
    file = folder / "scheduler" / "scheduler_config.json"
    config = read_config(file, infinities=True)  # a solver's lowest logarithm of the signal is one
    scheduler = config.get("_class_name", classes[0])
    if scheduler not in classes:
        raise _of_other_noise_levels(f"is {scheduler}", classes, str(file))
    if set(SCHEDULERS_OF_FLOWS) <= set(classes):
        if scheduler not in SCHEDULERS_OF_FLOWS and not walks_flow(config):
            raise _of_other_noise_levels(f"is a {scheduler} of betas", classes, str(file))
    elif config.get("beta_start") is None and config.get("trained_betas") is None:
        raise _of_other_noise_levels("names no betas", classes, str(file))


def left_out_of(index: PipelineIndex) -> dict[str, Any]:
    """What to hand to a pipeline in the place of parts that are not loaded, since drawing images calls none of them.

    A safety checker blackens images, which would be scored as they are.
    """
    family: Family | None = FAMILIES.get(index.kind)
    found = ("safety_checker",) if "safety_checker" in index.parts else ()
    missing = [part for part in family.optional_parts if part not in index.parts] if family else []
    left_out: dict[str, Any] = dict.fromkeys([*(family.left_out if family else found), *missing])
    return left_out | {"requires_safety_checker": False} if "safety_checker" in left_out else left_out


def _check_part(name: str, value: list[Any], where: str) -> Part | None:
    """One entry of the index; None for a part that the pipeline was saved without."""
    if value == [None, None]:
        return None
    if len(value) != 2 or not all(isinstance(word, str) for word in value):
        raise UserError(f"the entry of its {name} is {value!r}", where, "get the checkpoint again")
    library, class_name = value
    known = library in LIBRARIES | PIPELINE_MODULES and _IDENTIFIER.fullmatch(class_name)
    if not known or not _IDENTIFIER.fullmatch(name):
        problem = f"its {name} is {library}.{class_name}, which is no part of diffusers or transformers"
        raise UserError(problem, where, _WITHOUT_FOREIGN_CODE)
    return Part(name, library, class_name)


def _of_another_class(part: Part, classes: tuple[str, ...], where: str) -> UserError:
    if part.name == "scheduler":
        return _of_other_noise_levels(f"is {part.class_name}", classes, where)
    problem = f"its {part.name} is {part.class_name}, not {classes[0]}"
    return UserError(problem, where, "use a plain text-to-image checkpoint")


def _of_other_noise_levels(what: str, classes: tuple[str, ...], where: str) -> UserError:
    if classes is SCHEDULERS_OF_BETAS:
        problem = f"its scheduler {what}, so that ddpm, ddim and dpm-solver++ cannot take its noise levels over"
        return UserError(problem, where, "use a checkpoint trained with a schedule of betas, as Stable Diffusion was")
    problem = f"its scheduler {what}, whose noise levels cannot be taken over"
    return UserError(problem, where, f"use a checkpoint with one of: {', '.join(classes)}")


_EDITING: Final = "which changes an image that it is given"
_GUIDED_BY_PICTURES: Final = "which draws after a sketch, a depth map or a pose that it is given"

NOT_TRAINABLE: Final[dict[str, str]] = {
    "Flux2KleinInpaintPipeline": _EDITING,
    "Flux2KleinKVPipeline": _EDITING,
    "FluxControlImg2ImgPipeline": _GUIDED_BY_PICTURES,
    "FluxControlInpaintPipeline": _GUIDED_BY_PICTURES,
    "FluxControlNetImg2ImgPipeline": _GUIDED_BY_PICTURES,
    "FluxControlNetInpaintPipeline": _GUIDED_BY_PICTURES,
    "FluxControlNetPipeline": _GUIDED_BY_PICTURES,
    "FluxControlPipeline": _GUIDED_BY_PICTURES,
    "FluxFillPipeline": "which fills holes in an image that it is given",
    "FluxImg2ImgPipeline": _EDITING,
    "FluxInpaintPipeline": _EDITING,
    "FluxKontextInpaintPipeline": _EDITING,
    "FluxKontextPipeline": _EDITING,
    "FluxPriorReduxPipeline": "which describes an image for another pipeline and draws none",
    "SanaSprintPipeline": "which is distilled to draw in a few steps",
}
"""Kinds of pipelines that people might bring -> why they cannot be trained."""
