"""Generators beside base and tuned: any diffusers text-to-image pipeline, Attend-and-Excite, or a folder of images."""

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from comat_core.settings import Settings
from comat_core.support.errors import UserError, first_line
from stages.devices import choose_device
from stages.models.model_references import DEFAULT_PARSER, ImageFolder, SpacyPipeline, Use
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = re.compile(r"[a-z][a-z0-9_]*")
TAKEN = ("base", "tuned", "real", "lora")
Method = Literal["as saved", "attend and excite"]


class OtherGenerator(Settings):
    """A pipeline that draws, or a folder that holds what something else drew."""

    pipeline: Annotated[
        ModelReference | None, Use.PIPELINE, Field(description="a diffusers text-to-image pipeline, folder or hub id")
    ] = None
    folder: Annotated[
        ImageFolder, Field(description="folder of images named <prompt>_<6 digits>.png, as T2I-CompBench has them")
    ] = None
    method: Annotated[
        Method, Field(description="attend and excite draws with a Stable Diffusion 1 or 2 checkpoint's parts")
    ] = "as saved"
    parser: Annotated[SpacyPipeline, Field(description="spaCy pipeline that finds the nouns to attend to")] = (
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
    precision: Annotated[Literal["fp32", "bf16", "fp16"], Field(description="of the pipeline's weights")] = "fp32"

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.pipeline is None) == (self.folder is None):
            raise ValueError("give either `pipeline` or `folder`")
        return self


def check_name(name: str) -> None:
    """Refuse names that cannot stand beside base and tuned."""
    from stages.evaluate.declared.registry import splits  # whose benchmarks read these images

    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a generator: small letters, digits and _")
    if name in (*TAKEN, *splits()):
        raise ValueError(f"a generator cannot be called {name!r}, which means something else here")


class Painter:
    """A loaded pipeline."""

    def __init__(self, generator: OtherGenerator, pipeline: Any, where: str) -> None:
        self._settings = generator
        self._pipeline = pipeline
        self._where = where
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
        try:
            return self._draw(prompts, seeds)
        except (ValueError, TypeError) as error:
            problem = f"{type(self._pipeline).__name__} cannot draw: {first_line(error)}"
            raise UserError(problem, self._where, "check the generator's settings") from error

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> "list[Image]":
        from comat_core.support.randomness import make_generator

        generators = [make_generator(seed, "trajectory") for seed in seeds]
        if self._settings.method == "as saved":
            return self._pipeline(prompt=list(prompts), generator=generators, **self._options).images
        tokens = nouns_of(prompts, self._settings.parser, self._pipeline.tokenizer)
        rows = zip(prompts, generators, tokens, strict=True)
        return [self._attend(prompt, generator, found) for prompt, generator, found in rows]

    def _attend(self, prompt: str, generator: Any, tokens: list[int]) -> "Image":
        """Draw with the attention to the nouns excited; without nouns nothing is left of the method but the model."""
        if not tokens:
            from diffusers import StableDiffusionPipeline

            plain: Any = StableDiffusionPipeline(**self._pipeline.components, requires_safety_checker=False)
            plain.set_progress_bar_config(disable=True)
            _refuse_non_finite(plain, self._where)
            return plain(prompt=prompt, generator=generator, **self._options).images[0]
        unet, scale = self._pipeline.unet, self._pipeline.vae_scale_factor
        latent_side = (self._settings.drawn_resolution or unet.config.sample_size * scale) // scale
        # A quarter of the latents' side is the 16 x 16 of the method's paper at 512 px.
        side = latent_side // 4
        return self._pipeline(
            prompt=prompt, token_indices=tokens, generator=generator, attn_res=(side, side), **self._options
        ).images[0]


@contextmanager
def opened(generator: OtherGenerator, device: str) -> Iterator[Painter]:
    """Load a generator's pipeline.

    Raises:
        UserError: it cannot be loaded, or does not draw from a prompt alone.
    """
    import torch

    from comat_core.support.precisions import PRECISIONS

    assert generator.pipeline is not None
    where = generator.pipeline.resolve()
    pipeline = _load(generator, where)
    pipeline.to(choose_device(device), PRECISIONS[generator.precision])
    pipeline.set_progress_bar_config(disable=True)
    _check_takes_prompts(generator, pipeline, where)
    _refuse_non_finite(pipeline, where)
    with torch.no_grad():
        yield Painter(generator, pipeline, where)


def nouns_of(prompts: Sequence[str], parser: str, tokenizer: Any) -> list[list[int]]:
    """The tokens of every prompt's nouns, those that attribute concentration would use.

    Positions in the encoder's input, its start token counted.
    """
    from comat_core.language.entities import parse_entities
    from comat_core.language.parsers import load_parser
    from comat_core.language.token_alignment import align_prompts
    from data.noun_filter import load_noun_filter

    found = list(parse_entities(prompts, load_parser(parser), load_noun_filter(None)))
    spans = [[entity.noun_span for entity in entities if entity.removed_because is None] for entities in found]
    aligned = align_prompts(tokenizer, prompts, spans, tokenizer.model_max_length)
    return [[token for noun in of_prompt for token in noun.tokens] for of_prompt in aligned]


def _load(generator: OtherGenerator, where: str) -> Any:
    import diffusers
    import torch

    from comat_core.backbones.checkpoints.pipeline_index import left_out_of
    from comat_core.backbones.checkpoints.pipeline_loading import ADVICE, fetch_pipeline, index_of, load_pipeline
    from comat_core.support.loading_errors import loading_errors_told

    assert generator.pipeline is not None
    excites = generator.method == "attend and excite"
    kind: Any = diffusers.StableDiffusionAttendAndExcitePipeline if excites else None
    revision = generator.pipeline.revision
    left_out = left_out_of(index_of(where, revision))
    with loading_errors_told("the pipeline cannot be loaded", where, ADVICE):
        folder = fetch_pipeline(where, revision, left_out)
    return load_pipeline(folder, left_out, torch.float32, kind)


def _refuse_non_finite(pipeline: Any, where: str) -> None:
    """Let a pipeline end with an error where it would draw numbers that are none as black pixels.

    Whatever the architecture, its images come through one of these two converters.
    """
    import torch

    from comat_core.support.finite_numbers import check_finite

    converters: tuple[Any, ...] = (pipeline, getattr(pipeline, "image_processor", None))
    for converter in converters:
        convert = getattr(converter, "numpy_to_pil", None)
        if convert is not None:

            def checked(images: Any, convert: Any = convert) -> Any:
                check_finite(torch.as_tensor(images), "the images that the pipeline draws", where)
                return convert(images)

            converter.numpy_to_pil = checked


def _check_takes_prompts(generator: OtherGenerator, pipeline: Any, where: str) -> None:
    parameters = inspect.signature(type(pipeline).__call__).parameters
    needed = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty}
    needed -= {"self", "prompt", "args", "kwargs"}
    if generator.method == "attend and excite":
        needed -= {"token_indices"}
    if "prompt" not in parameters or "generator" not in parameters or needed:
        lacks = f"needs {', '.join(sorted(needed))} beside a prompt" if needed else "takes no prompt"
        raise UserError(f"{type(pipeline).__name__} {lacks}", where, "give a text-to-image pipeline")
