"""What a LoRA's safetensors header says about it, in the words that other tools read.

`modelspec.*` is the metadata standard that web interfaces show; `ss_*` are kohya's notes on a network.
"""

import json
from collections.abc import Mapping
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

from comat_core.backbones.protocol import Backbone

BASE_VERSIONS = {
    "stable-diffusion-v1": "sd_v1",
    "stable-diffusion-v2": "sd_v2",
    "stable-diffusion-xl-v1-base": "sdxl_base_v1-0",
    "flux-1": "flux1",
}
"""Beginnings of the architectures' names -> what kohya's tools call the base model."""


def describe_lora(model: Backbone, name: str, *, base: str, resolution: int, title: str) -> dict[str, str]:
    """Describe one adapter of a model.

    Args:
        name: of the adapter.
        base: what the LoRA was trained on, for the reader.
        resolution: side of the training images, pixels.
        title: of the LoRA, for the reader.
    """
    return {
        "modelspec.sai_model_spec": "1.0.0",
        **_architecture(model),
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": title,
        "modelspec.description": f"LoRA of the {model.denoiser_label}'s attention, by CoMat (arXiv 2404.03653)",
        "modelspec.prediction_type": _prediction_type(model),
        "modelspec.resolution": f"{resolution}x{resolution}",
        "comat.base": base,
        LORA_ADAPTER_METADATA_KEY: json.dumps(_adapter_config(model, name), sort_keys=True),
    }


def kohya_notes(model: Backbone, name: str) -> dict[str, str]:
    """The notes that kohya's tools look for in their own files."""
    config = model.denoiser.peft_config[name]
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.r),
        "ss_network_alpha": str(float(config.lora_alpha)),
        "ss_v2": str(str(model.architecture).startswith("stable-diffusion-v2")),
        **base_version(_architecture(model)),
    }


def base_version(metadata: Mapping[str, str]) -> dict[str, str]:
    """The notes by which web interfaces tell whether a LoRA is for the checkpoint at hand, and hide it if not.

    Without them they take every file with notes for one of Stable Diffusion 1.

    Args:
        metadata: of `describe_lora`. Nothing is said of a base that is none of the published ones.
    """
    architecture = metadata.get("modelspec.architecture", "")
    versions = [version for name, version in BASE_VERSIONS.items() if architecture.startswith(name)]
    if not versions:
        return {}
    return {"ss_base_model_version": versions[0], "ss_v2": str(versions[0] == BASE_VERSIONS["stable-diffusion-v2"])}


def _adapter_config(model: Backbone, name: str) -> dict[str, Any]:
    """peft's settings of the adapter, as diffusers' loaders take them from the header."""
    config = model.denoiser.peft_config[name]
    part = model.denoiser_part
    targets = sorted(config.target_modules)
    return {f"{part}.r": config.r, f"{part}.lora_alpha": config.lora_alpha, f"{part}.target_modules": targets}


def _architecture(model: Backbone) -> dict[str, str]:
    """Nothing for a model that is none of the published ones."""
    return {"modelspec.architecture": f"{model.architecture}/lora"} if model.architecture else {}


def _prediction_type(model: Backbone) -> str:
    return {"v_prediction": "v"}.get(model.prediction_type, model.prediction_type)
