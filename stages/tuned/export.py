"""A trained model in the forms that others use: a LoRA for diffusers or for kohya's tools, or a whole pipeline."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from comat_core.settings import Precision
from stages.sampling import TUNED, sampling_model
from stages.store.file_names import fitting_name
from stages.store.new_folder import new_folder
from stages.train.model_card import MODEL_CARD, base_name, model_title
from stages.tuned.tuned_model import TunedModel

_TRAIN_AGAIN: Final = "train again with a lower learning rate, or in bf16 or fp32"
_SMALLER_WEIGHTS: Final = "check the base model's weights; if they are whole, choose --precision bf16 or fp32"


def export_model(tuned: TunedModel, kind: str, output: Path, precision: Precision) -> Path:
    """Write one of `EXPORTS` as a new folder, which appears only when it is complete.

    Args:
        output: a folder that does not exist, or is empty.
        precision: of the merged pipeline's weights; LoRAs keep the float32 that they were trained in.

    Raises:
        UserError: the folder holds something, or cannot be written.
    """
    with new_folder(output, "export") as folder:
        EXPORTS[kind](tuned, folder, precision)
    return output


def _export_diffusers(tuned: TunedModel, folder: Path, precision: Precision) -> None:
    """The LoRA as it was trained, with its model card, and with the notes that web interfaces choose LoRAs by."""
    del precision
    from safetensors.torch import load_file

    from comat_core.backbones.lora.lora_metadata import base_version
    from comat_core.files.safetensors_files import add_metadata, read_metadata
    from comat_core.support.finite_numbers import check_finite_weights

    with tuned.artifacts["train"].local_path("lora/") as lora:
        shutil.copytree(lora, folder, dirs_exist_ok=True)
    (file,) = folder.glob("*.safetensors")
    check_finite_weights(load_file(file), "the LoRA", tuned.preset, _TRAIN_AGAIN)
    add_metadata(file, base_version(read_metadata(file)))


def _export_kohya(tuned: TunedModel, folder: Path, precision: Precision) -> None:
    """The LoRA under kohya's names, in one file, with its model card."""
    del precision
    from comat_core.backbones.lora.kohya import kohya_lora
    from comat_core.backbones.lora.lora_metadata import describe_lora, kohya_notes
    from comat_core.files.safetensors_files import save_with_metadata
    from comat_core.support.finite_numbers import check_finite_weights

    training = tuned.training
    config = tuned.sampling.model_copy(update={"precision": "fp32", "device": "cpu"})
    with sampling_model(config, tuned.artifacts, config.vae) as model:
        title, base = model_title(training), base_name(training)
        metadata = describe_lora(model, TUNED, base=base, resolution=training.resolution, title=title)
        notes = {name: value for name, value in metadata.items() if name.startswith(("modelspec.", "comat."))}
        file = folder / fitting_name(f"comat-{tuned.preset}", ".safetensors")
        tensors = kohya_lora(model, TUNED)
        check_finite_weights(tensors, "the LoRA", tuned.preset, _TRAIN_AGAIN)
        save_with_metadata(tensors, file, notes | kohya_notes(model, TUNED))
    _copy_card(tuned, folder)


def _export_merged(tuned: TunedModel, folder: Path, precision: Precision) -> None:
    """The base pipeline with the LoRA added to its weights, loadable without any adapter.

    Raises:
        UserError: some weights are no finite numbers, or too large for the precision.
    """
    from torch import nn

    from comat_core.backbones.adapters import merge_lora
    from comat_core.support.finite_numbers import check_finite_weights
    from comat_core.support.precisions import PRECISIONS

    # Added in float32 and rounded once.
    config = tuned.sampling.model_copy(update={"precision": "fp32", "device": "cpu"})
    with sampling_model(config, tuned.artifacts, config.vae) as model:
        merge_lora(model.denoiser, TUNED)
        model.pipeline.to(dtype=PRECISIONS[precision])
        for name, part in model.pipeline.components.items():
            if isinstance(part, nn.Module):
                check_finite_weights(part.state_dict(), f"its {name}", model.source, _SMALLER_WEIGHTS)
        model.pipeline.save_pretrained(folder)
    _copy_card(tuned, folder)


def _copy_card(tuned: TunedModel, folder: Path) -> None:
    with tuned.artifacts["train"].local_path("lora/") as lora:
        shutil.copyfile(lora / MODEL_CARD, folder / MODEL_CARD)


EXPORTS: Final[dict[str, Callable[[TunedModel, Path, Precision], None]]] = {
    "diffusers": _export_diffusers,
    "kohya": _export_kohya,
    "merged": _export_merged,
}
