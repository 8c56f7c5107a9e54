"""One training step on networks of any size, and what it took; for `benchmarks.full_size`."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.training_workload import ONLINE, SEED, make_batch
from comat_core.backbones.adapters import active_adapter, lora_parameters
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.discriminators.denoiser import memory_of_roles
from comat_core.training.step_settings import StepSettings
from comat_core.training.training_inputs import CoMatModels
from comat_core.training.training_step import discriminator_step, training_step
from stages.train.memory_plan import peak_bytes

CPU = torch.device("cpu")
GIBIBYTE = 2**30


class LeftAndRight:
    """A segmenter that finds every noun, the even ones on the left: masks without a third network in memory."""

    networks: Mapping[str, nn.Module] = MappingProxyType({})

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return boolean masks (nouns, H, W) of each image; see `Segmenter`."""
        left = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
        left[:, : images.shape[-1] // 2] = True
        return [torch.stack([left if number % 2 == 0 else ~left for number in range(len(row))]) for row in nouns]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """One object of each noun: its mask."""
        return [list(masks[:, None]) for masks in self.segment(images, nouns)]


def take_step(models: CoMatModels, discriminator: DenoiserDiscriminator, settings: StepSettings) -> dict[str, object]:
    """One step of both learners on one prompt and one real image: its time, its losses and what moved."""
    online = models.online
    batch = make_batch(online, settings, prompts=1, pairs=1)
    learned = {"online": lora_parameters(online.denoiser, ONLINE)}
    learned["discriminator"] = list(discriminator.named_trainable_parameters().values())
    optimizers = [AdamW(parameters, lr=5e-5) for parameters in learned.values()]
    before = [parameter.detach().clone() for parameter in learned["online"]]

    start = time.perf_counter()
    with active_adapter(online.denoiser, ONLINE):
        output = training_step(models, batch, settings, seed=SEED, step=0)
        output.total.backward()
        optimizers[0].step()
        discriminator_step(models, batch, output, settings).loss.backward()
        optimizers[1].step()
    seconds = time.perf_counter() - start

    roles = memory_of_roles(online, discriminator)
    label = online.denoiser_label.lower()
    moved = sum(not torch.equal(old, new) for old, new in zip(before, learned["online"], strict=True))
    return {
        "seconds": round(seconds, 1),
        "resolution": settings.resolution,
        "num_inference_steps": settings.sampling.num_inference_steps,
        "gradient_steps": settings.sampling.gradient_steps,
        "autoencoder_parameters": count(online.vae),
        "lora_parameters": count(*learned["online"]),
        "lora_tensors": len(before),
        "lora_tensors_moved": moved,
        "losses": {name: loss.item() for name, loss in output.losses.items()},
        f"{label}_bytes_of_three_roles": roles.resident,
        f"{label}_bytes_if_separate": roles.separate,
        f"{label}_bytes_ratio": round(roles.resident / roles.separate, 4),
    }


def peak_facts(limit: float) -> dict[str, object]:
    """The peak of resident memory of this process, and whether it kept to a limit in GiB."""
    peak = peak_bytes(CPU)
    return {
        "peak_resident_bytes": peak,
        "peak_resident_gibibytes": round(peak / GIBIBYTE, 2),
        "limit_gibibytes": limit,
        "within_limit": peak <= limit * GIBIBYTE,
    }


def expected_lora_parameters(denoiser: nn.Module, rank: int, targets: Sequence[str]) -> int:
    """Count from the target modules alone: each projection from a to b values gets rank * (a + b).

    Args:
        targets: ends of the names of the adapted layers.
    """
    return sum(
        rank * (module.in_features + module.out_features)
        for name, module in denoiser.named_modules()
        if isinstance(module, nn.Linear)
        and any(f".{name.removesuffix('.base_layer')}".endswith(f".{target}") for target in targets)
    )


def count(*modules_or_parameters: Any) -> int:
    """Numbers in networks and parameters."""
    total = 0
    for item in modules_or_parameters:
        total += item.numel() if isinstance(item, Tensor) else sum(value.numel() for value in item.parameters())
    return total
