"""What a training run will need of a device's memory, reckoned before its first step, and what it did need."""

import resource
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

import torch
from torch import Tensor, nn

from comat_core.backbones.adapters import active_adapter, lora_parameters
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.backbones.guided_denoiser import GuidedDenoiser
from comat_core.backbones.recomputed_blocks import recomputed_blocks_of
from comat_core.captioners.protocol import ImageToText
from comat_core.rewards.names import reward_role
from comat_core.rewards.protocol import Reward
from comat_core.support.memory.activation_memory import kept_activations
from comat_core.support.memory.offloading import OffloadedReward
from comat_core.support.memory.stored_bytes import stored_bytes
from comat_core.support.precisions import PRECISIONS
from comat_core.training.training_inputs import CoMatModels
from stages.train.config import TrainConfig
from stages.train.learning.optimizers import state_bytes
from stages.train.models import ADAPTER_NAME
from stages.train.sharded_plan import Shares, callable_without_others

MEGABYTE, GIGABYTE = 2**20, 2**30
ONE_BLOCK = "denoiser, the largest block"
"""What is kept for as long as the backward pass is in one block, if blocks are recomputed."""
EXAMPLE_CAPTION: Final = "a red bird sits to the left of a striped blue cube on a small wooden table"


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by part. Activations are what one micro-batch keeps for its backward pass."""

    parameters: dict[str, int]
    """Frozen weights that stay on the device."""
    visiting: dict[str, int]
    """Frozen weights that come to the device for their calls."""
    adapters: int
    """LoRA weights and the discriminator's head, of both learners."""
    optimizers: int
    """Their state, with the moving average, the best weights so far and the rewards' gradients where they are kept."""
    activations: dict[str, int]
    peak: int
    three_roles: tuple[int, int] | None
    """Weights of online, reference and discriminator network as they are, and if each were a network of its own."""
    gathered: dict[str, int]
    """Weights of a network that is spread over processes: what is whole at a time, beside this process's share."""

    def __str__(self) -> str:
        lines = [
            "Memory plan, estimated:",
            f"  frozen weights    {_listed(self.parameters)}",
            *([f"  moved in and out  {_listed(self.visiting)}"] if self.visiting else []),
            *([f"  gathered at most  {_listed(self.gathered)}"] if self.gathered else []),
            f"  LoRA, its gradients and optimisers  {_readable(self.adapters)}, {_readable(self.adapters)}, "
            f"{_readable(self.optimizers)}",
            f"  activations       {_listed(self.activations)}",
            f"  peak              {_readable(self.peak)}",
        ]
        if self.three_roles is not None:
            together, apart = self.three_roles
            roles = "online, reference and discriminator"
            lines.append(f"  {roles}  {_readable(together)}, as three networks {_readable(apart)}")
        return "\n".join(lines)


def plan_memory(
    config: TrainConfig,
    models: CoMatModels,
    judges: Mapping[str, Sequence[nn.Module]] | None = None,
    captions: Sequence[str] = (EXAMPLE_CAPTION,),
) -> MemoryPlan:
    """Count the weights of loaded models, and the activations of one micro-batch without computing it.

    Args:
        judges: role -> networks of those that look at validation images between the steps, where nothing keeps
            activations (`stages.train.brake.bench`).
        captions: what a micro-batch's images are held against, repeated as often as needed. How many counterfactuals
            and questions they lead to, and how long they are, decides what rewards keep.
    """
    judges = judges or {}
    online = lora_parameters(models.online.denoiser, ADAPTER_NAME)
    learned: list[Tensor] = [*online]
    if models.discriminator is not None:
        learned += models.discriminator.named_trainable_parameters().values()
    adapters = _bytes(learned)
    optimizers = state_bytes(config.optimizer, learned) + _copies(config) * _bytes(online)
    visitors = _visitors(config, models)
    judging = {role: _bytes(_weights(own, set())) for role, own in judges.items()} if config.hardware.offload else {}
    networks = {name: [network] for name, network in models.online.networks.items()}
    networks |= {role: [*model.networks.values()] for role, model in models.helpers.items()} | dict(judges)
    shares = Shares(config, models)
    parameters, visiting = _frozen_weights(networks, visitors | judging, {id(value) for value in learned}, shares)
    activations = _activations(config, callable_without_others(models), captions)
    resident = sum(parameters.values()) + 2 * adapters + optimizers
    encoders = sum(visitors.get(name, 0) for name in models.online.text_encoders)  # all come for the prompts
    highest = _highest(config, activations, visitors, shares.gathered.get(models.online.denoiser_label, 0))
    peak = resident + max(highest, encoders, *shares.gathered.values(), *judging.values())
    roles = _three_roles(models, learned, shares)
    return MemoryPlan(parameters, visiting, adapters, optimizers, activations, peak, roles, shares.gathered)


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has used so far: the GPU's allocations, or the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe_peak(device: torch.device) -> str:
    """One line on the measured peak."""
    of_what = "allocated on the GPU" if device.type == "cuda" else "of this process, libraries included"
    return f"Measured peak: {_readable(peak_bytes(device))} {of_what}"


def _copies(config: TrainConfig) -> int:
    """How many more sets of the LoRA's size a training keeps: other weights, and gradients that are kept apart."""
    apart = len(config.rewarded) + 1 if config.conflicting_rewards is not None else 0  # the rest is one more
    return (config.online.average_decay is not None) + (config.brake is not None) + apart


def _frozen_weights(
    networks: Mapping[str, Iterable[nn.Module]], visitors: Container[str], learned: set[int], shares: Shares
) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of the frozen weights by model: those that stay on the device, and those that visit it.

    Each weight counts once, where it is met first: what the discriminator shares counts as the online model's.
    """
    counted, staying, visiting = set(learned), {}, {}
    for name, modules in networks.items():
        if size := shares.bytes(_weights(modules, counted)):
            (visiting if name in visitors else staying)[name] = size
    return staying, visiting


def _visitors(config: TrainConfig, models: CoMatModels) -> dict[str, int]:
    """Bytes that come to the device with each model that waits on the CPU between its calls."""
    if not config.hardware.offload:
        return {}
    waiting = {role: [*model.networks.values()] for role, model in models.helpers.items() if role != "discriminator"}
    waiting |= {name: [encoder] for name, encoder in models.online.text_encoders.items()}
    return {role: _bytes(_weights(networks, set())) for role, networks in waiting.items()}


def _three_roles(models: CoMatModels, learned: Sequence[Tensor], shares: Shares) -> tuple[int, int] | None:
    """The reference model is the online one without its adapter, and takes nothing of its own."""
    if models.discriminator is None:
        return None
    added = {id(value) for value in learned}
    online, discriminator = [models.online.denoiser], [*models.discriminator.networks.values()]
    if models.online.denoiser in discriminator:  # then it asks that network alone, whatever else the model is made of
        discriminator = online
    together = shares.bytes(_weights([*online, *discriminator], set(added)))
    apart = 2 * shares.bytes(_weights(online, set(added))) + shares.bytes(_weights(discriminator, set(added)))
    return together + _bytes(learned), apart + _bytes(learned)


def _weights(modules: Iterable[nn.Module], counted: set[int]) -> Iterator[Tensor]:
    """The parameters that have not been counted yet; from now on they have."""
    for module in modules:
        for value in module.parameters():
            if id(value) not in counted:
                counted.add(id(value))
                yield value


def _activations(config: TrainConfig, models: CoMatModels, captions: Sequence[str]) -> dict[str, int]:
    """Bytes that each part of one micro-batch keeps for its backward pass."""
    online, weights = models.online, config.weights
    rows, prompts = config.batch_size + config.denoised_pairs, config.batch_size
    side = online.latent_size(config.resolution)
    conditioning = models.unconditional.repeat(rows)
    guided = conditioning if config.sampling.guidance_scale > 1 else None
    capture = CaptureRequest((0,), range(prompts)) if weights.attribute_concentration else None
    denoiser = GuidedDenoiser.of(online, conditioning, guided, config.sampling.guidance_scale, capture)

    def latents(count: int) -> Tensor:
        shape = (count, online.latent_channels, side, side)
        return torch.zeros(shape, device=online.device, requires_grad=True)

    def images(count: int, device: torch.device = online.device) -> Tensor:
        return torch.zeros(count, 3, config.resolution, config.resolution, device=device, requires_grad=True)

    def timestep() -> Tensor:
        return torch.zeros((), dtype=torch.long)

    calls: dict[str, Callable[[], object]] = {
        "denoiser, one step": lambda: denoiser.predict(latents(rows), range(rows), 0, timestep())
    }
    is_rewarded = weights.concept_activation or models.rewards
    if is_rewarded or (models.discriminator is not None and models.discriminator.reads == "images"):
        decoded = 1 if config.checkpoint_decoder else rows
        calls["decoder"] = lambda: online.decode(latents(decoded))
    calls |= {
        role: lambda score=score, home=home: score(images(rows, home))
        for role, (score, home) in _image_scorers(config, models, [*islice(cycle(captions), rows)]).items()
    }
    discriminator = models.discriminator
    if discriminator is not None:
        shown = images if discriminator.reads == "images" else latents
        calls["discriminator"] = lambda: discriminator.score_keeping(shown(2 * prompts))
    planned, one_block = _networks(models), [0]
    blocks = recomputed_blocks_of(online.denoiser)
    if blocks is not None:
        blocks.observer = lambda call: one_block.append(kept_activations(call, planned))
    with active_adapter(online.denoiser, ADAPTER_NAME), _autocast(config, online.device):
        kept = {name: kept_activations(call, planned) for name, call in calls.items()}
    if blocks is not None:
        blocks.observer = None
        kept[ONE_BLOCK] = max(one_block)
    return kept


def _networks(models: CoMatModels) -> list[nn.Module]:
    helping = [network for model in models.helpers.values() for network in model.networks.values()]
    return [*models.online.networks.values(), *helping]


def _image_scorers(
    config: TrainConfig, models: CoMatModels, captions: Sequence[str]
) -> dict[str, tuple[Callable[[Tensor], object], torch.device]]:
    """Role -> what scores images against the captions with a graph, and the device on which it can be planned."""
    scorers: dict[str, ImageToText | Reward] = {
        reward_role(name): one.reward.model if isinstance(one.reward, OffloadedReward) else one.reward
        for name, one in models.rewards.items()
    }
    if models.captioner is not None and config.weights.concept_activation:
        scorers = {"captioner": models.captioner, **scorers}
    prepared = {}
    for role, scorer in scorers.items():
        weights = (weight for network in scorer.networks.values() for weight in network.parameters())
        home = next((weight.device for weight in weights), models.online.device)  # the CPU for one that visits
        prepared[role] = (scorer.prepare(captions, home), home)
    return prepared


def _highest(config: TrainConfig, activations: dict[str, int], visiting: dict[str, int], gathered: int) -> int:
    """Bytes above the resident ones at the fullest moment of a step.

    Args:
        gathered: weights of the denoiser that are whole for its calls alone.
    """
    denoiser, discriminator = activations["denoiser, one step"], activations.get("discriminator", 0)
    decoder, one_block = activations.get("decoder", 0), activations.get(ONE_BLOCK, 0)
    scorers = {
        role: size for role, size in activations.items() if role in ("captioner", *map(reward_role, config.rewards))
    }
    throughout = 0 if config.checkpoint_denoiser else config.sampling.gradient_steps * denoiser + discriminator // 2
    # What visits leaves nothing behind; what stays keeps its activations until the backward pass.
    kept = 0 if config.hardware.offload else sum(scorers.values())
    calls = {role: size + visiting[role] for role, size in scorers.items()} if config.hardware.offload else {}
    moments = {
        **{role: decoder + size for role, size in calls.items()},
        "segmenter": decoder + visiting.get("segmenter", 0) + kept,
        "denoiser": gathered + one_block + (denoiser if config.checkpoint_denoiser else 0),
    }
    return max(throughout + max(moments.values()), gathered + discriminator + one_block)


def _autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    if config.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, PRECISIONS[config.precision], cache_enabled=False)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(map(stored_bytes, tensors))


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {_readable(size)}" for name, size in sizes.items())


def _readable(size: int) -> str:
    return f"{size / GIGABYTE:.2f} GiB" if size >= GIGABYTE / 10 else f"{size / MEGABYTE:.2f} MiB"
