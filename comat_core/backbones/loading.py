"""Load a checkpoint as the backbone that its kind of pipeline is."""

from pathlib import Path
from typing import Any

import diffusers
import torch

from comat_core.backbones.checkpoints.pipeline_index import check_backbone, check_schedule, family_of, left_out_of
from comat_core.backbones.checkpoints.pipeline_loading import (
    ADVICE,
    fetch_pipeline,
    index_of,
    load_network,
    load_pipeline,
)
from comat_core.backbones.families import FAMILIES
from comat_core.backbones.family import Family
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.quantisation import Quantisation
from comat_core.support.loading_errors import loading_errors_told


def load_backbone(
    source: str | Path,
    *,
    revision: str | None = None,
    vae: str | Path | None = None,
    vae_revision: str | None = None,
    denoiser: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    quantisation: Quantisation | None = None,
) -> Backbone:
    """Load a checkpoint, safetensors only.

    Args:
        source: a diffusers pipeline folder or a hub id.
        revision: the hub id's branch, tag or commit.
        vae: a folder or hub id whose autoencoder replaces the checkpoint's own (SDXL's half-precision-safe one).
        vae_revision: the same for that autoencoder.
        denoiser: a folder with a denoiser that replaces the checkpoint's own.
        dtype: of the weights. An autoencoder that asks for `force_upcast` stays in float32 beside a float16 denoiser.
        device: where the weights live.
        quantisation: of the denoiser and the large text encoders; None for none.

    Raises:
        UserError: the checkpoint cannot be read or is of a kind that is not supported; a network of it is of another
            class, or lacks weights; it cannot be quantised here.
    """
    if quantisation is not None:
        quantisation.check(str(dtype), torch.device(device).type)
    source = str(source)
    index = index_of(source, revision)
    family = family_of(index, source)
    given: dict[str, Any] = {}
    if vae is not None:
        given["vae"] = load_network(_class_of(family, "vae"), str(vae), "the autoencoder", dtype, vae_revision)
    if denoiser is not None:
        kind = family.backbone_class()
        part, label = kind.denoiser_part, kind.denoiser_label
        class_ = _class_of(family, part)
        options = quantisation.options(part, class_.__name__) if quantisation is not None else {}
        given[part] = load_network(class_, str(denoiser), f"the {label}", dtype, **options)
    check_backbone(index, source, given)
    given |= left_out_of(index)
    with loading_errors_told("cannot load the model", source, ADVICE):
        folder = fetch_pipeline(source, revision, given)
    check_schedule(folder, index.kind)
    pipeline = load_pipeline(folder, given, dtype, quantisation=quantisation)
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.to(torch.float32)
    pipeline.to(device)
    backbone = wrap_pipeline(pipeline, source)
    assert backbone.denoiser.dtype == dtype, "the loader has ignored the requested precision"
    return backbone


def wrap_pipeline(pipeline: Any, source: str = "the base model") -> Backbone:
    """Make a backbone of a loaded pipeline.

    Args:
        source: where it came from, for the reader of an error.

    Raises:
        UserError: the checkpoint is a variant that cannot be trained.
        KeyError: pipelines of that kind are not supported.
    """
    return FAMILIES[type(pipeline).__name__].backbone_class()(pipeline, source)


def _class_of(family: Family, part: str) -> Any:
    """The class of diffusers that a part of this family's pipelines is of."""
    return getattr(diffusers, family.parts[part][0])
