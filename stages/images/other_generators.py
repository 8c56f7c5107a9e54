"""Generators beside base and tuned: any diffusers text-to-image pipeline, drawn as it is or by a training-free method,
or a folder of images."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from comat_core.files.paths import folder_exists
from comat_core.settings import Precision, Settings
from comat_core.support.errors import UserError, first_line
from stages.models.devices import choose_device
from stages.models.model_references import DEFAULT_PARSER, ImageFolder, SpacyPipeline, Use
from stages.plan.config import NOT_IN_KEY_IF_EMPTY, ModelReference

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = re.compile(r"[a-z][a-z0-9_]*")
TAKEN = ("base", "tuned", "real", "lora")
Method = Literal["as saved", "attend and excite", "composable", "structure"]


class OtherGenerator(Settings):
    """A pipeline that draws, or a folder that holds what something else drew."""

    pipeline: Annotated[
        ModelReference | None, Use.PIPELINE, Field(description="a diffusers text-to-image pipeline, folder or hub id")
    ] = None
    lora: Annotated[
        ModelReference | None,
        Use.LORA,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="a LoRA for the pipeline, as its load_lora_weights() takes it: folder, file or hub id"),
    ] = None
    folder: Annotated[
        ImageFolder, Field(description="folder of images named <prompt>_<6 digits>.png, as T2I-CompBench has them")
    ] = None
    method: Annotated[
        Method,
        Field(
            description="attend and excite: with a Stable Diffusion 1 or 2 checkpoint's parts; "
            "composable, structure: Composable Diffusion, StructureDiffusion, with those of XL as well"
        ),
    ] = "as saved"
    parser: Annotated[SpacyPipeline, Field(description="spaCy pipeline that reads the prompts for a method")] = (
        DEFAULT_PARSER
    )
    splits: Annotated[
        tuple[str, ...] | None, Field(min_length=1, description="draw these splits only; none means all of samples")
    ] = None
    drawn_resolution: Annotated[
        int | None, Field(ge=8, le=4096, description="pixels per side; default: the pipeline's own")
    ] = None
    num_inference_steps: Annotated[int | None, Field(ge=1, le=1000, description="default: the pipeline's own")] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=100, description="default: the pipeline's own")] = None
    precision: Annotated[Precision, Field(description="of the pipeline's weights")] = "fp32"

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.pipeline is None) == (self.folder is None):
            raise ValueError("give either `pipeline` or `folder`")
        if self.lora is not None and self.pipeline is None:
            raise ValueError("a `lora` needs the `pipeline` that it is for")
        return self

    @property
    def reads_prompts(self) -> bool:
        """Whether the images depend on the parser."""
        return self.method != "as saved"


def check_name(name: str) -> None:
    """Refuse names that cannot stand beside base and tuned."""
    from stages.evaluate.declared.registry import splits  # whose benchmarks read these images

    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a generator: small letters, digits and _")
    if name in (*TAKEN, *splits()):
        raise ValueError(f"a generator cannot be called {name!r}, which means something else here")


class Painter:
    """A loaded pipeline, and the method and settings that it draws with."""

    def __init__(self, generator: OtherGenerator, pipeline: Any, where: str) -> None:
        from stages.images.drawing import METHODS

        self._method = METHODS[generator.method](pipeline, generator.parser, where)
        side = generator.drawn_resolution
        given = {
            "num_inference_steps": generator.num_inference_steps,
            "guidance_scale": generator.guidance_scale,
            "height": side,
            "width": side,
        }
        self._options = {name: value for name, value in given.items() if value is not None}

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> "list[Image]":
        """Draw one image of each prompt, each from the noise of its own seed.

        Raises:
            UserError: the pipeline refuses the settings, wants more than prompts, or draws no finite numbers.
        """
        from comat_core.support.randomness import make_generator

        generators = [make_generator(seed, "trajectory") for seed in seeds]
        try:
            return self._method.draw(prompts, generators, self._options)
        except (ValueError, TypeError) as error:
            problem = f"{type(self._method.pipeline).__name__} cannot draw: {first_line(error)}"
            raise UserError(problem, self._method.where, "check the generator's settings") from error


@contextmanager
def opened(generator: OtherGenerator, device: str) -> Iterator[Painter]:
    """Load a generator's pipeline.

    Raises:
        UserError: it cannot be loaded, or does not draw from a prompt alone.
    """
    import torch

    from comat_core.backbones.lora.stock_loras import add_lora
    from comat_core.support.precisions import PRECISIONS
    from stages.images.drawing.finite import refuse_non_finite

    assert generator.pipeline is not None
    where = generator.pipeline.resolve()
    pipeline = _load(generator, where)
    if generator.lora is not None:
        add_lora(pipeline, lora_file(generator.lora))
    pipeline.to(choose_device(device), PRECISIONS[generator.precision])
    pipeline.set_progress_bar_config(disable=True)
    painter = Painter(generator, pipeline, where)
    refuse_non_finite(pipeline, where)
    with torch.no_grad():
        yield painter


def lora_file(lora: ModelReference) -> Path:
    """The file of a LoRA's weights; one on the hub is fetched.

    Raises:
        UserError: there is none, or more than one.
    """
    if lora.local_path() is None and lora.file is None:
        raise UserError("which file of the hub's repository is the LoRA is not told", lora.path, "give its `file`")
    place = Path(lora.resolve())
    if not folder_exists(place):
        return place
    files = sorted(place.glob("*.safetensors"))
    if len(files) != 1:
        problem = f"{len(files)} safetensors files instead of one LoRA"
        raise UserError(problem, str(place), "name a folder with one LoRA, or its file")
    return files[0]


def check_lora(generator: OtherGenerator) -> None:
    """Load a generator's pipeline with its LoRA once, so that one which does not fit is told before anything is drawn.

    Raises:
        UserError: either cannot be loaded, or they do not fit.
    """
    _load_once(generator.model_dump_json())


@cache
def _load_once(generator: str) -> None:
    with opened(OtherGenerator.model_validate_json(generator), "cpu"):
        pass


def _load(generator: OtherGenerator, where: str) -> Any:
    import diffusers
    import torch

    from comat_core.backbones.checkpoints.pipeline_index import left_out_of
    from comat_core.backbones.checkpoints.pipeline_loading import ADVICE, fetch_pipeline, index_of, load_pipeline
    from comat_core.support.loading_errors import loading_errors_told
    from stages.images.drawing import METHODS

    assert generator.pipeline is not None
    put_together_as = METHODS[generator.method].pipeline_class
    kind: Any = getattr(diffusers, put_together_as) if put_together_as is not None else None
    revision = generator.pipeline.revision
    left_out = left_out_of(index_of(where, revision))
    with loading_errors_told("the pipeline cannot be loaded", where, ADVICE):
        folder = fetch_pipeline(where, revision, left_out)
    return load_pipeline(folder, left_out, torch.float32, kind)
