"""FLUX.1-dev without its memory: its sizes, and what training its preset would take; for `benchmarks.full_size`."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from segment_anything import sam_model_registry
from torch import Tensor, nn
from transformers import BlipForConditionalGeneration, GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.initialization import no_init_weights

from benchmarks.four_bits import quantise_to_four_bits
from benchmarks.full_size_models import blip_config, full_sizes, save_blip, tiny_sizes
from benchmarks.full_size_step import GIBIBYTE, count, expected_lora_parameters
from benchmarks.full_size_transformers import PUBLISHED
from comat_core.backbones.adapters import add_lora, lora_parameters
from comat_core.backbones.loading import wrap_pipeline
from comat_core.backbones.quantisation import Quantisation
from comat_core.backbones.recomputed_blocks import recompute_blocks
from comat_core.captioners.blip import BlipCaptioner
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.support.memory.activation_memory import without_data
from comat_core.support.precisions import made_in
from comat_core.support.pretrained import load_processor
from comat_core.training.training_inputs import CoMatModels
from stages.plan.presets import load_preset
from stages.train.config import TrainConfig
from stages.train.memory_plan import plan_memory
from stages.train.models import ADAPTER_NAME

BASES: Final[Mapping[str, Quantisation | None]] = {
    "bf16": None,
    "torchao": Quantisation(kind="torchao"),
    "bitsandbytes": Quantisation(kind="bitsandbytes"),
}
"""How the base may be kept."""
SPREAD_OVER: Final = (2, 4, 8)
"""Processes that may share the base in bf16."""


class PlannedSegmenter:
    """The networks of a segmenter, which the plan counts and does not call."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = networks

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        raise NotImplementedError("without data nothing is found")

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        raise NotImplementedError("without data nothing is found")


def measure_flux(arguments: argparse.Namespace) -> dict[str, object]:
    """Parameters, the LoRA's size, and the memory plans of the preset with the base kept in three ways, or spread."""
    config = cast("TrainConfig", load_preset(PUBLISHED["flux"].preset).sections["train"])
    facts: dict[str, object] = {"resolution": config.resolution, "lora_rank": config.online.rank}
    for name, quantisation in BASES.items():
        asked = config.model_copy(update={"base_quantisation": quantisation})
        models = planned_models(asked, tiny=arguments.tiny, folder=arguments.folder)
        plan = plan_memory(asked, models)
        if quantisation is None:
            lora = lora_parameters(models.online.denoiser, ADAPTER_NAME)
            facts |= {
                "parameters": {role: count(network) for role, network in models.online.networks.items()},
                "lora_parameters": count(*lora),
                "lora_parameters_expected": expected_lora_parameters(
                    models.online.denoiser, config.online.rank, models.online.adapter_targets
                ),
            }
            parameters: Any = facts["parameters"]
            parameters[models.online.denoiser_label] -= 2 * count(*lora)  # the discriminator's is as large
            facts["bf16_spread"] = {processes: spread_plan(asked, models, processes) for processes in SPREAD_OVER}
        print(f"{name}: {plan}", file=sys.stderr, flush=True)
        facts[name] = {
            "frozen_weights": plan.parameters,
            "moved_in_and_out": plan.visiting,
            "adapters": plan.adapters,
            "optimisers": plan.optimizers,
            "activations": plan.activations,
            "peak": plan.peak,
            "peak_gibibytes": round(plan.peak / GIBIBYTE, 2),
        }
    return facts


def spread_plan(config: TrainConfig, models: CoMatModels, processes: int) -> dict[str, object]:
    """What one of several processes takes that share the base."""
    hardware = config.hardware.model_copy(update={"shard_base": True})
    plan = plan_memory(config.model_copy(update={"processes": processes, "hardware": hardware}), models)
    print(f"bf16 over {processes} processes: {plan}", file=sys.stderr, flush=True)
    return {
        "frozen_weights": plan.parameters,
        "gathered_at_most": plan.gathered,
        "peak": plan.peak,
        "peak_gibibytes": round(plan.peak / GIBIBYTE, 2),
    }


def planned_models(config: TrainConfig, *, tiny: bool, folder: Path | None = None) -> CoMatModels:
    """Make the models that FLUX's preset names as `load_models` does, with neither numbers nor memory.

    Args:
        tiny: small networks of the same kinds.
        folder: for a tokenizer; None for the system's.
    """
    published = PUBLISHED["flux"]
    scheduler, nowhere = published.make_scheduler(), without_data()
    with nowhere, made_in(torch.bfloat16), no_init_weights():
        settings = published.config | (published.small if tiny else {})
        pipeline = published.make_pipeline(settings, not tiny, scheduler)
        for encoder in (pipeline.text_encoder, pipeline.text_encoder_2):
            encoder.tie_weights()
    online = wrap_pipeline(pipeline)
    if config.base_quantisation is not None:
        for network in (pipeline.transformer, pipeline.text_encoder_2):
            quantise_without_data(network, config.base_quantisation)
    if config.hardware.recompute_blocks:
        recompute_blocks(online.denoiser)
    wanted = config.online
    add_lora(online, ADAPTER_NAME, rank=wanted.rank, seed=config.seed, target_modules=wanted.target_modules)
    walk = online.make_scheduler(config.sampling.scheduler, config.resolution)
    network: Any = config.discriminator.network
    return CoMatModels(
        online=online,
        scheduler=walk,
        unconditional=online.encode_unconditional(1, config.resolution),
        captioner=_captioner(nowhere, tiny, folder),
        discriminator=DenoiserDiscriminator(
            online,
            rank=network.rank,
            resolution=config.resolution,
            timestep=walk.last_timestep(config.sampling.num_inference_steps),
            seed=config.seed,
            checkpoint_denoiser=config.checkpoint_denoiser,
        ),
        segmenter=PlannedSegmenter({} if tiny else _grounded_sam(nowhere)),
    )


def quantise_without_data(network: nn.Module, quantisation: Quantisation) -> None:
    """Quantise a network as the libraries' loaders do when they are told so by `Quantisation.options`."""
    if quantisation.kind == "bitsandbytes":
        quantise_to_four_bits(network)
    else:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(network, Int8WeightOnlyConfig())
    network.requires_grad_(False)


def _captioner(nowhere: Any, tiny: bool, folder: Path | None) -> BlipCaptioner:
    """BLIP-large in bf16: its processor from a small checkpoint, its network by the published config."""
    with tempfile.TemporaryDirectory(dir=folder) as saved:
        save_blip(Path(saved), tiny_sizes())
        processor = load_processor(saved, None)
    sizes = tiny_sizes() if tiny else full_sizes()
    with nowhere, made_in(torch.bfloat16), no_init_weights():
        model = BlipForConditionalGeneration(blip_config(sizes)).requires_grad_(False).eval()
        model.tie_weights()
    return BlipCaptioner(model, processor)


def _grounded_sam(nowhere: Any) -> dict[str, nn.Module]:
    """The segmenter of the presets at full size: GroundingDINO with Swin-T, whose config is the library's, and SAM."""
    with nowhere, no_init_weights():
        detector = GroundingDinoForObjectDetection(GroundingDinoConfig())
        return {"GroundingDINO": detector, "SAM": sam_model_registry["vit_h"](checkpoint=None)}
