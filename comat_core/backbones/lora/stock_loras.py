"""Somebody's LoRA on any pipeline of diffusers, by the pipeline's own loader, whole or not at all.

The loader leaves out what fits nowhere, and says so in a log alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from comat_core.backbones.lora.lora_files import AdaptedNetwork, PeftLoraFiles
from comat_core.support.errors import UserError
from comat_core.support.loading_errors import loading_errors_told

NAME: Final = "lora"
DOWN: Final = ("lora_A", "lora.down", "lora_down", "lora_linear_layer.down")
"""What the first matrix of a layer's pair is called, by peft, by older files of diffusers and by kohya's tools."""
ADVICE: Final = "use a LoRA that was made for this kind of model"


def add_lora(pipeline: Any, file: Path) -> None:
    """Load a LoRA onto a pipeline, active from now on.

    Args:
        pipeline: of diffusers.
        file: safetensors, in any form that the pipeline's loader knows, or of a folder of peft's.

    Raises:
        UserError: the pipeline knows no LoRAs, the file cannot be read, or a layer of it is none of the pipeline's.
    """
    kind = type(pipeline).__name__
    if file.name == PeftLoraFiles.file_name:
        part = "transformer" if hasattr(pipeline, "transformer") else "unet"
        with loading_errors_told(f"the LoRA does not fit a {kind}", str(file), ADVICE):
            PeftLoraFiles().load(AdaptedNetwork(pipeline, part, NAME), file)
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"a {kind} takes no LoRA", str(file), "give a pipeline with load_lora_weights()")
    options = {"weight_name": file.name, "use_safetensors": True}
    with loading_errors_told(f"the LoRA does not fit a {kind}", str(file), ADVICE):
        pipeline.load_lora_weights(file.parent, adapter_name=NAME, **options)
        read = pipeline.lora_state_dict(file.parent, **options)
    # Some pipelines return the weights alone, others together with scales or metadata.
    weights: Mapping[str, Any] = read[0] if isinstance(read, tuple) else read
    given = sum(any(mark in key for mark in DOWN) for key in weights)
    taken = sum(map(_layers_with_lora, pipeline.components.values()))
    if not taken or taken < given:
        problem = f"{given - taken} of the LoRA's {given} layers are none of this {kind}'s"
        raise UserError(problem, str(file), ADVICE)


def _layers_with_lora(component: Any) -> int:
    if not isinstance(component, nn.Module):
        return 0
    return sum(f".lora_A.{NAME}." in name for name, _ in component.named_parameters())
