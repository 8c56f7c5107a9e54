"""Load frozen transformers models, and refuse checkpoints that would silently be another model or half random."""

from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, PreTrainedModel

from comat_core.errors import UserError
from comat_core.loading_bars import without_loading_bars

Model = TypeVar("Model", bound=PreTrainedModel)

_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises for absent folders, unknown ids, malformed JSON, damaged weights and wrong shapes."""


def load_frozen_model(
    model_class: type[Model],
    folder: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Model:
    """Load a model for inference and input gradients only: evaluation mode, no parameter asks for a gradient.

    Args:
        model_class: the transformers class the checkpoint was saved from.
        folder: a local folder or a hub id.
        revision: a hub id's branch, tag or commit.
        options: of the class's constructor, beside the config.

    Raises:
        UserError: the checkpoint cannot be read, is of another architecture, or lacks some of the weights.
    """
    _check_architecture(model_class, folder, revision)
    loader: Any = model_class
    try:
        with without_loading_bars():
            model, report = loader.from_pretrained(
                folder, revision=revision, dtype=dtype, output_loading_info=True, **options
            )
    except _UNREADABLE as error:
        raise _unreadable(folder, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"the checkpoint lacks {len(missing)} weights of {model_class.__name__}, among them {missing[0]}",
            folder,
            "use a complete checkpoint of this model class",
        )
    return model.requires_grad_(False).eval().to(device)


def load_processor(folder: str, revision: str | None = None) -> Any:
    """Load the processor (tokenizer and image processor) saved beside a model.

    Raises:
        UserError: the folder holds no processor that transformers can read.
    """
    try:
        return AutoProcessor.from_pretrained(folder, revision=revision)
    except _UNREADABLE as error:
        raise _unreadable(folder, error) from error


def load_image_processor(folder: str, revision: str | None = None) -> Any:
    """Load the image processor saved beside a model that reads no text.

    Raises:
        UserError: the folder holds none that transformers can read.
    """
    try:
        return AutoImageProcessor.from_pretrained(folder, revision=revision)
    except _UNREADABLE as error:
        advice = "save the model's image processor beside it"
        raise UserError("the model has no image processor", folder, advice) from error


def _check_architecture(model_class: Any, folder: str, revision: str | None) -> None:
    try:
        config = AutoConfig.from_pretrained(folder, revision=revision)
    except _UNREADABLE as error:
        raise _unreadable(folder, error) from error
    architectures = config.architectures or []
    same_family = config.model_type == model_class.config_class.model_type
    if not same_family or (architectures and model_class.__name__ not in architectures):
        raise UserError(
            f"the checkpoint is a {' or '.join(architectures) or config.model_type}, not a {model_class.__name__}",
            folder,
            "name a checkpoint of the right kind",
        )


def _unreadable(folder: str, error: Exception) -> UserError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"cannot load the model: {first_line}", folder, "give a folder saved by save_pretrained, or a reachable hub id"
    )
