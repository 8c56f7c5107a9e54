"""Small audits: what their tests have in common."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict

from comat_core.support.randomness import make_generator
from stages.plan.pipeline import Plan
from stages.plan.presets import Preset, load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.studies.audit.composition import Request, compose_audit
from stages.studies.audit.subjects import read_subjects

FAST = {"precision": "fp32", "num_inference_steps": 2, "guidance_scale": 3.0}


def save_random_lora(pipeline: Path, folder: Path, rank: int = 2) -> Path:
    """Write a LoRA of noise for a pipeline's UNet, as diffusers' users do."""
    loaded: Any = StableDiffusionPipeline.from_pretrained(pipeline)
    loaded.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=["to_q", "to_k", "to_v"]))
    for name, parameter in loaded.unet.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=make_generator(1, "random LoRA", name))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(loaded.unet))
    loaded.save_lora_weights(folder, unet_lora_layers=layers)
    return folder


def small_audit(
    model: str, *benchmarks: str, against: str | None = None, base: str | None = None, prompts: int = 3
) -> Preset:
    """The preset of an audit that takes seconds: few prompts of each set, two images each, two steps."""
    subjects = read_subjects(model, against, base, FAST)
    return compose_audit(load_preset("miniature"), Request(*subjects, benchmarks=benchmarks, prompts=prompts))


def build_all(plan: Plan, store: Store) -> dict[str, Artifact]:
    """Build a plan's nodes one after the other: node name -> artifact."""
    made: dict[str, Artifact] = {}
    for node in plan.nodes:
        inputs = {role: made[source] for role, source in node.inputs.items()}
        made[node.name] = node.stage.run(node.config, inputs, store)
    return made
