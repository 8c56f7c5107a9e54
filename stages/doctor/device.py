"""The device that training would use, and the memory that it would take. Imports torch: for a process of its own."""

import os
from collections.abc import Iterator

import torch

from comat_core.support.errors import UserError
from comat_core.support.memory.machine_memory import free_memory
from stages.doctor.findings import Finding, gigabytes, good, note, problem
from stages.models.devices import AUTO, choose_device
from stages.models.needed_models import needed_models
from stages.plan.presets import Preset
from stages.train.config import TrainConfig

LARGEST_LOADED = 10**9
"""Bytes of model files that are loaded for the plan; more would take longer than anybody waits for this."""
ADVICE = "lower train.batch_size or raise train.gradient_accumulation, or see the preset sd15-small-gpu"


def examine_device(config: TrainConfig) -> Iterator[Finding]:
    """The GPUs, or the CPU in their place."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(gpus):
        facts = torch.cuda.get_device_properties(index)
        yield good("device", f"GPU {index}: {facts.name}, {gigabytes(facts.total_memory)}")
    if config.device != AUTO:
        try:
            choose_device(config.device)
        except UserError as error:
            yield problem("device", error.what, "set train.device to auto")
            return
    try:
        config.check_packages()
    except UserError as error:
        yield problem("device", error.what, error.what_to_do)
    if not gpus:
        yield good("device", f"CPU, {os.cpu_count()} cores, {gigabytes(device_memory())} of memory free")
        if config.precision != "fp32":
            told = f"there is no GPU that torch can use, and the preset trains in {config.precision}"
            yield note("device", told, "expect weeks on a CPU; install a driver, or try the preset miniature")
    elif config.processes > gpus and config.device in (AUTO, "cuda"):
        told = f"train.processes = {config.processes}, and there are {gpus} GPUs"
        yield problem("device", told, f"set train.processes={gpus}, and more train.gradient_accumulation for the rest")


def examine_memory(preset: Preset, config: TrainConfig) -> tuple[Finding, int | None]:
    """What training will need of the device's memory, by its own plan, beside what there is.

    Returns:
        The line; and the bytes of the states that a checkpoint holds, where the plan was made.
    """
    models = [model for model in needed_models([preset]) if any(role.startswith("train.") for role in model.roles)]
    size = sum(model.size or 0 for model in models)
    if not all(model.presence.startswith(("local", "cached")) for model in models):
        told = f"training's models are not all here; their files hold {gigabytes(size)}"
        return note("memory", told, "fetch them; a run prints its memory plan before its first step"), None
    if size > LARGEST_LOADED:
        told = f"training's models hold {gigabytes(size)}, too much to load for a plan here"
        return note("memory", told, "a run prints its memory plan before its first step"), None
    from stages.train.brake.bench import load_bench
    from stages.train.memory_plan import plan_memory
    from stages.train.models import load_models

    cpu = torch.device("cpu")
    judges = load_bench(config, config.brake, cpu).networks if config.brake is not None else {}
    plan = plan_memory(config, load_models(config, cpu), judges)
    there = device_memory()
    needed = plan.peak * (1 if torch.cuda.is_available() else config.processes)
    told = f"training needs about {gigabytes(needed)} at its peak; the device has {gigabytes(there)}"
    finding = problem("memory", told, ADVICE) if needed > there else good("memory", told)
    return finding, plan.adapters + plan.optimizers


def device_memory() -> int:
    """Bytes of the smallest GPU, or those that are free of this machine's or container's memory."""
    if torch.cuda.is_available():
        every = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return min(facts.total_memory for facts in every)
    return free_memory()
