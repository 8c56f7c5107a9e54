"""One training step as its preset takes it: its time over its bare model calls, its memory over the plan."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.alternating import Timing, alternate
from benchmarks.bare_model_calls import bare_model_calls
from benchmarks.full_size_models import save_blip
from benchmarks.full_size_step import LeftAndRight
from benchmarks.gpu.architectures import ARCHITECTURES, Place
from benchmarks.rewarded_step import full_step
from benchmarks.training_workload import Workload, make_batch
from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.captioners.blip import BlipCaptioner
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.support.precisions import PRECISIONS
from comat_core.training.training_inputs import CoMatModels
from stages.plan.presets import load_preset
from stages.train.config import TrainConfig
from stages.train.memory_plan import peak_bytes, plan_memory
from stages.train.models import ADAPTER_NAME, Learner, make_trainee

TINY_SAMPLING = {"num_inference_steps": 2, "gradient_steps": 1, "attention_steps": 1, "tau_range": (1, 999)}
"""Two steps may have none in the middle."""


def measure_step(
    architecture: str, precision: str, device: torch.device, *, backend: str | None, tiny: bool, repetitions: int
) -> dict[str, object]:
    """A step of the preset in one precision, with all losses and both learners.

    Args:
        backend: of torch.compile for the denoiser's blocks (`train.hardware.compile_backend`); None leaves them eager.
    """
    config = _config(architecture, precision, backend, tiny=tiny)
    workload = _workload(architecture, config, Place(device, PRECISIONS[precision], tiny))
    plan = plan_memory(config, workload.models)
    autocast = _autocast(config, device)
    with active_adapter(workload.models.online.denoiser, ADAPTER_NAME):
        memory = _measured_bytes(config, workload, autocast, device)
        timed = _time_over_bare_calls(workload, autocast, Timing(repetitions), device)
    return {
        "preset": ARCHITECTURES[architecture].preset,
        "precision": precision,
        "compile_backend": backend,
        "resolution": config.resolution,
        "prompts": config.batch_size,
        "real_images": config.denoised_pairs,
        "sampling": config.sampling.model_dump(),
        "step_over_bare_calls": timed,
        "planned_bytes": plan.peak,
        "measured_bytes": memory,
        "measured_bytes_are": "allocated on the GPU" if device.type == "cuda" else "the process's, libraries included",
        "measured_over_planned": round(memory / plan.peak, 3),
    }


def _config(architecture: str, precision: str, backend: str | None, *, tiny: bool) -> TrainConfig:
    config: Any = load_preset(ARCHITECTURES[architecture].preset).sections["train"]
    changes: dict[str, Any] = {
        "precision": precision,
        "hardware": config.hardware.model_copy(update={"compile_backend": backend}),
    }
    if tiny:
        network = config.discriminator.network.model_copy(update={"rank": 4})
        changes |= {
            "resolution": 64,
            "batch_size": 2,
            "pair_batch_size": 1,
            "online": config.online.model_copy(update={"rank": 4}),
            "discriminator": config.discriminator.model_copy(update={"network": network}),
            "sampling": config.sampling.model_copy(update=TINY_SAMPLING),
        }
    return config.model_copy(update=changes)


def _workload(architecture: str, config: TrainConfig, place: Place) -> Workload:
    """Make what `stages.train.models.load_models` loads, but for the segmenter, whose masks are ready-made."""
    chosen, network = ARCHITECTURES[architecture], config.discriminator.network
    assert network.kind == "denoiser"
    assert (network.model is None) == (chosen.discriminator is None), "the preset's discriminator is another one"
    online = chosen.make(place)
    if config.hardware.compile_backend is not None:
        online.denoiser.compile_repeated_blocks(backend=config.hardware.compile_backend)
    wanted = config.online
    add_lora(online, ADAPTER_NAME, rank=wanted.rank, seed=config.seed, target_modules=wanted.target_modules)
    scheduler = online.make_scheduler(config.sampling.scheduler, config.resolution)
    discriminator = DenoiserDiscriminator(
        online if chosen.discriminator is None else ARCHITECTURES[chosen.discriminator].make(place),
        rank=network.rank,
        resolution=config.resolution,
        timestep=scheduler.last_timestep(config.sampling.num_inference_steps),
        seed=config.seed,
        checkpoint_denoiser=config.checkpoint_denoiser,
    )
    with tempfile.TemporaryDirectory() as folder:
        captioner = BlipCaptioner.load(save_blip(Path(folder), place.sizes), dtype=place.dtype, device=place.device)
    models = CoMatModels(
        online=online,
        scheduler=scheduler,
        unconditional=online.encode_unconditional(1, config.resolution),
        captioner=captioner,
        discriminator=discriminator,
        segmenter=LeftAndRight(),
    )
    batch = make_batch(online, config, config.batch_size, config.denoised_pairs)
    return Workload(models, discriminator, batch, config)


def _measured_bytes(
    config: TrainConfig,
    workload: Workload,
    autocast: Callable[[], AbstractContextManager[object]],
    device: torch.device,
) -> int:
    """The peak of a step and its updates once the optimisers have their state, as in every step but the first."""
    trainee = make_trainee(config, workload.models)
    learners = [learner for learner in (trainee.online, trainee.discriminator) if learner is not None]
    for learner in learners:
        _update(learner)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    full_step(workload, autocast)
    for learner in learners:
        _update(learner)
    workload.forget_gradients()
    return peak_bytes(device)


def _update(learner: Learner) -> None:
    """An optimiser step; a parameter without a gradient gets zeros."""
    for parameter in learner.parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)


def _time_over_bare_calls(
    workload: Workload, autocast: Callable[[], AbstractContextManager[object]], timing: Timing, device: torch.device
) -> dict[str, object]:
    with autocast():
        make_calls = bare_model_calls(workload, step=0)

    def measured() -> None:
        full_step(workload, autocast)
        workload.forget_gradients()

    def bare() -> None:
        with autocast():
            make_calls()
        workload.forget_gradients()

    return alternate(measured, bare, timing, device.type)


def _autocast(config: TrainConfig, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """As a training run has it (`stages.train.steps.Run`)."""
    if config.precision == "fp32":
        return nullcontext
    return partial(torch.autocast, device.type, PRECISIONS[config.precision])
