"""Whether the files of the models that a stage names can be used, told before anything runs.

Only files at hand are looked at, and no weight is read: what is missing is downloaded when it is loaded.
"""

import logging
from collections.abc import Container
from pathlib import Path

from comat_core.backbones.checkpoints.pipeline_index import (
    INDEX_FILE,
    check_backbone,
    check_schedule,
    left_out_of,
    read_index,
)
from comat_core.support.checkpoint_files import (
    DIFFUSERS_STEM,
    TRANSFORMERS_STEM,
    Network,
    pipeline_variant,
    read_config,
    refuse_foreign_kernels,
    weights_variant,
)
from comat_core.support.errors import UserError
from stages.models.hub import cached_folder
from stages.models.model_references import Use, named_models
from stages.plan.config import ModelReference, StageConfig

CONFIG_FILE = "config.json"

logger = logging.getLogger("comat")


def check_models(config: StageConfig, section: str) -> None:
    """Check the models that a stage loads, as far as they are on this machine.

    Args:
        section: of the preset.

    Raises:
        UserError: one of them cannot be used; the setting that names it is told.
    """
    for named in named_models(config, section):
        reference = named.reference
        if not isinstance(reference, ModelReference) or reference.file is not None:
            continue
        try:
            folder = reference.local_path() or cached_folder(reference.path, reference.revision)
            if folder is None or not folder.is_dir() or named.use is Use.LORA:
                continue
            variant = check_folder(folder, named.use, named.absent)
        except UserError as error:
            raise UserError(error.what, f"{error.where}, the setting {named.setting}", error.what_to_do) from error
        if variant is not None:
            logger.info("%s: %s has weights of the variant %s alone", named.setting, reference.path, variant)


def check_folder(folder: Path, use: Use, absent: Container[str] = ()) -> str | None:
    """Check a model's folder, and say which variant of its weights would be read; None is the plain one.

    Args:
        use: what it has to be.
        absent: names of the parts of a checkpoint that are loaded from elsewhere.

    Raises:
        UserError: it cannot be used.
    """
    if use is not Use.NETWORK or (folder / INDEX_FILE).exists():
        return _check_pipeline(folder, absent, trained=use is Use.CHECKPOINT)
    config = read_config(folder / CONFIG_FILE)
    refuse_foreign_kernels(config, str(folder))
    of_diffusers = "_class_name" in config
    stem = DIFFUSERS_STEM if of_diffusers else TRANSFORMERS_STEM
    return weights_variant(Network("the model", folder, (stem,), reads_pickles=not of_diffusers))


def _check_pipeline(folder: Path, absent: Container[str], *, trained: bool) -> str | None:
    index = read_index(folder)
    if trained:
        check_backbone(index, str(folder), absent)
        check_schedule(folder, index.kind)
    unread = left_out_of(index)
    needed = [part for part in index.parts.values() if part.is_network and part.name not in unread]
    return pipeline_variant([part.network(folder) for part in needed if part.name not in absent])
