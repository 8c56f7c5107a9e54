"""How a pipeline draws: its class, its scheduler, and the steps and guidance that it takes unless it is told others."""

import inspect
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from comat_core.backbones.checkpoints.pipeline_index import INDEX_FILE
from comat_core.files.json_files import read_json
from comat_core.files.paths import path_exists
from comat_core.support.errors import UserError
from stages.images.other_generators import OtherGenerator
from stages.models.hub import fetch_file
from stages.plan.config import ModelReference

SCHEDULER = "scheduler/scheduler_config.json"


class Sampler(BaseModel):
    """What draws an image from its noise."""

    model_config = ConfigDict(frozen=True)

    pipeline: str
    """Name of the class in diffusers."""
    scheduler: dict[str, Any]
    """As the checkpoint has it."""
    num_inference_steps: int | None
    guidance_scale: float | None
    is_guided: bool
    """Every step asks the denoiser twice, with and without the prompt."""

    @property
    def passes(self) -> int:
        """Images that the denoiser is given for one that is drawn."""
        return (self.num_inference_steps or 1) * (2 if self.is_guided else 1)

    def __str__(self) -> str:
        scheduler = self.scheduler.get("_class_name", "no scheduler")
        guidance = "no guidance" if self.guidance_scale is None else f"guidance {self.guidance_scale:g}"
        return f"{self.pipeline}, {scheduler}, {self.num_inference_steps} steps, {guidance}"


def sampler_of(generator: OtherGenerator) -> Sampler | None:
    """What a generator's pipeline draws with; None for a folder of images.

    Of a model on the hub two small files are fetched.

    Raises:
        UserError: it cannot be had, or is no text-to-image pipeline of diffusers.
    """
    if generator.pipeline is None:
        return None
    import diffusers

    index = read_json(_file(generator.pipeline, INDEX_FILE), "pipeline's index", shape="object")
    kind: Any = getattr(diffusers, str(index.get("_class_name")), None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.DiffusionPipeline):
        advice = "give a text-to-image pipeline of diffusers"
        raise UserError(f"diffusers has no {index.get('_class_name')}", generator.pipeline.path, advice)
    known = inspect.signature(kind.__call__).parameters
    own = {name: known[name].default for name in ("num_inference_steps", "guidance_scale") if name in known}
    given = {name: getattr(generator, name) for name in own if getattr(generator, name) is not None}
    drawn = own | given
    guidance = drawn.get("guidance_scale")
    # Pipelines with a "true" scale beside it tell the network its guidance, in one pass.
    twice = "negative_prompt" in known and "true_cfg_scale" not in known and guidance is not None and guidance > 1
    return Sampler(
        pipeline=kind.__name__,
        scheduler=_scheduler(generator.pipeline) if index.get("scheduler") else {},
        num_inference_steps=drawn.get("num_inference_steps"),
        guidance_scale=guidance,
        is_guided=twice,
    )


def _scheduler(pipeline: ModelReference) -> dict[str, Any]:
    # Some hold infinities, which are no JSON: as text they can stand in an audit's manifest.
    found = read_json(_file(pipeline, SCHEDULER), "scheduler's settings", shape="object", infinities=True)
    return {name: str(value) if value in (math.inf, -math.inf) else value for name, value in found.items()}


def _file(pipeline: ModelReference, name: str) -> Path:
    local = pipeline.local_path()
    if local is None:
        return fetch_file(pipeline.path, name, pipeline.revision)
    if not path_exists(local / name):
        raise UserError(f"the pipeline has no {name}", str(local), "give a diffusers pipeline")
    return local / name
