"""Load a diffusers pipeline, each of its networks whole and of the class meant, or not at all.

The libraries give a network random weights where a checkpoint has none for it, and say so in a log alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin
from transformers import PreTrainedConfig, PreTrainedModel

from comat_core.backbones.checkpoints.pipeline_index import INDEX_FILE, Part, PipelineIndex, check_index, read_index
from comat_core.backbones.quantisation import Quantisation
from comat_core.support.checkpoint_files import (
    DIFFUSERS_STEM,
    FP16,
    Network,
    pipeline_variant,
    refuse_foreign_kernels,
    variant_in_pipeline,
    weights_variant,
)
from comat_core.support.errors import UserError
from comat_core.support.loading_bars import without_loading_bars
from comat_core.support.loading_errors import NO_SUCH_FILE, loading_errors_told

ADVICE: Final = "give a diffusers pipeline folder with safetensors weights, or a reachable hub id"
_RENAMED: Final = {"Transformer2DModel"}
"""Former names of several classes, which the library tells apart itself."""


def index_of(source: str, revision: str | None, **options: Any) -> PipelineIndex:
    """Read and check a checkpoint's index before anything else of it is read or downloaded.

    Args:
        source: a folder or a hub id.
        options: for the download.

    Raises:
        UserError: it cannot be had, or names code that is not part of the libraries.
    """
    if Path(source).is_dir():
        return read_index(Path(source))
    with loading_errors_told("cannot load the model", source, ADVICE):
        config: Any = DiffusionPipeline.load_config(source, revision=revision, **options)
    return check_index(config, source)


def fetch_pipeline(source: str, revision: str | None, left_out: Mapping[str, Any], **options: Any) -> Path:
    """Return the folder of a checkpoint; of one on the hub the files that are read are downloaded into the cache.

    Args:
        left_out: components by name that are not wanted.

    Raises:
        OSError: the hub cannot be reached, or has no weights in safetensors.
    """
    if Path(source).is_dir():
        return Path(source)
    loader: Any = DiffusionPipeline
    settings = {"revision": revision, "use_safetensors": True, **options, **left_out}
    try:
        return Path(loader.download(source, **settings))
    except OSError as error:
        if "safetensors" not in str(error):  # no word of the weights: the hub cannot be reached
            raise
        try:
            return Path(loader.download(source, variant=FP16, **settings))
        except (OSError, ValueError):
            raise error from None


def load_pipeline(
    folder: Path,
    given: Mapping[str, Any],
    dtype: torch.dtype,
    pipeline_class: type[DiffusionPipeline] | None = None,
    quantisation: Quantisation | None = None,
) -> Any:
    """Load a pipeline from a folder.

    Args:
        given: components and settings by name that stand in the place of the folder's own; None for those left out.
            Those that the pipeline does not have are ignored.
        dtype: of the weights.
        pipeline_class: that takes the folder's components; None for the one that its index names.
        quantisation: of its largest networks; None for none.

    Raises:
        UserError: a part of it cannot be read, is of another class, or lacks weights.
    """
    index = read_index(folder)
    kind: Any = pipeline_class or _pipeline_class_of(index, str(folder))
    expected, optional = kind._get_signature_keys(kind)
    own = [index.parts[name] for name in expected if name in index.parts and name not in given]
    networks = [part for part in own if part.is_network]
    variant = pipeline_variant([part.network(folder) for part in networks])
    components = {name: value for name, value in given.items() if name in [*expected, *optional]}
    for part in networks:
        own_variant = variant_in_pipeline(part.network(folder), variant)
        options = quantisation.options(part.name, part.class_name) if quantisation is not None else {}
        components[part.name] = _load_whole(
            _class_of(part, folder), str(folder / part.name), f"its {part.name}", dtype, variant=own_variant, **options
        )
    with loading_errors_told("cannot load the model", str(folder), ADVICE), without_loading_bars():
        return kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, **components)


def load_network(
    model_class: Any, source: str, name: str, dtype: torch.dtype, revision: str | None = None, **options: Any
) -> Any:
    """Load one network of diffusers from a folder or hub id.

    Args:
        name: of the network, for the reader.
        options: of the class's loader.

    Raises:
        UserError: it cannot be read, is of another class, or lacks weights.
    """
    if Path(source).is_dir():
        variant = weights_variant(Network(name, Path(source), (DIFFUSERS_STEM,)))
        return _load_whole(model_class, source, name, dtype, variant=variant, **options)
    try:
        return _load_whole(model_class, source, name, dtype, revision=revision, **options)
    except UserError as error:
        if NO_SUCH_FILE not in error.what:
            raise
        try:
            return _load_whole(model_class, source, name, dtype, revision=revision, variant=FP16, **options)
        except UserError:
            raise error from error.__cause__


def _pipeline_class_of(index: PipelineIndex, where: str) -> Any:
    """Find the pipeline class that an index names.

    Raises:
        UserError: diffusers has none of that name, or one that loads further models by itself.
    """
    found = getattr(diffusers, index.kind, None)
    if not isinstance(found, type) or not issubclass(found, DiffusionPipeline):
        raise UserError(f"diffusers has no {index.kind}", where, "give a text-to-image pipeline of diffusers")
    if found._load_connected_pipes:
        problem = f"{index.kind} loads another checkpoint, which its model card names"
        raise UserError(problem, where, "give a pipeline that is complete in itself")
    return found


def _class_of(part: Part, folder: Path) -> Any:
    """The class of a network. Its library and the form of its name have been checked."""
    libraries = {"diffusers": diffusers, "transformers": transformers}
    library = libraries.get(part.library) or getattr(diffusers.pipelines, part.library, None)
    found = getattr(library, part.class_name, None)
    if not isinstance(found, type) or not issubclass(found, ModelMixin | PreTrainedModel):
        problem = f"its {part.name} is {part.class_name}, which is no network of {part.library}"
        raise UserError(problem, str(folder / INDEX_FILE), "get the checkpoint again")
    return found


def _load_whole(model_class: Any, source: str, name: str, dtype: torch.dtype, **settings: Any) -> Any:
    """Load a network, and make sure that the checkpoint has all of its weights."""
    with loading_errors_told(f"cannot load {name}", source, ADVICE), without_loading_bars():
        _check_class(model_class, source, name, settings.get("revision"))
        model, report = model_class.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True, **settings
        )
    missing = sorted(report["missing_keys"])
    if missing:
        problem = f"{name} lacks {len(missing)} weights of {model_class.__name__}, among them {missing[0]}"
        raise UserError(problem, source, "use a complete checkpoint of this class")
    return model


def _check_class(model_class: Any, source: str, name: str, revision: str | None) -> None:
    """Compare the class that a network's own config names, or what family it is of, with the class it is to be."""
    if issubclass(model_class, ConfigMixin):
        config: Any = model_class.load_config(source, revision=revision)
        found = config.get("_class_name", model_class.__name__)
        fits = found == model_class.__name__ or found in _RENAMED or model_class.__name__ in _RENAMED
    else:
        config, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
        refuse_foreign_kernels(config, source)
        found, fits = _architecture(config), _same_family(model_class, config)
    if not fits:
        problem = f"{name} is {found}, not {model_class.__name__}"
        raise UserError(problem, source, "use a network of the class that the pipeline takes")


def _same_family(model_class: Any, config: dict[str, Any]) -> bool:
    """Whether a text encoder is a CLIP where a CLIP is meant. Other families read each other's checkpoints."""
    expected = str(getattr(model_class.config_class, "model_type", ""))
    return not expected.startswith("clip") or str(config.get("model_type", expected)).startswith("clip")


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures") or [config.get("model_type")]
    return str(names[0])
