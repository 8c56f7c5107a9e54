"""What a training step costs beyond the model calls it cannot avoid, in time and in memory.

    python -m benchmarks.train_step                                  # the miniature models, every part
    python -m benchmarks.train_step --family sd3 --parts time        # a base of another family, as large, untrained
    python -m benchmarks.train_step --models FOLDER --parts time --device cuda --resolution 512

FOLDER holds "base" (a diffusers pipeline), "captioner" (BLIP) and "segmenter" (CLIPSeg). Parts:

time       a full step (both optimisers' backward passes, all losses) over the bare model calls, made alternately
memory     peak bytes of a step as K and as T grow, with and without recomputing the denoiser
attention  denoising that captures attention maps over denoising with fused attention alone, made alternately

The last line is one JSON object with the ratios and the number of repetitions.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import torch

from benchmarks.bare_model_calls import bare_model_calls
from benchmarks.family_bases import FAMILIES, base_of
from benchmarks.peak_memory import peak_bytes
from benchmarks.training_workload import ONLINE, SEED, Workload, load_workload
from comat_core.backbones.adapters import active_adapter
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.training.step_settings import StepSettings, TrainingSampler
from comat_core.training.training_step import discriminator_step, training_step

GRADIENT_STEP_COUNTS = (1, 2, 5, 10)
INFERENCE_STEP_COUNTS = (10, 25, 50)
CLOCKS: Final[dict[str, Callable[[], float]]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Timing:
    """How two calls are timed."""

    repetitions: int
    clock: str = "wall"
    """One of `CLOCKS`: the processor's own time where others share it."""


def main() -> None:
    arguments = _arguments()
    family = FAMILIES[arguments.family]
    sampling = TrainingSampler(
        scheduler=arguments.scheduler or family.scheduler,
        num_inference_steps=arguments.num_inference_steps,
        gradient_steps=arguments.gradient_steps,
        attention_steps=min(2, arguments.gradient_steps),
        tau_range=(1, 999),
        guidance_interval=arguments.guidance_interval,
        start_steps=arguments.start_steps,
    )
    settings = StepSettings(
        resolution=arguments.resolution, sampling=sampling, checkpoint_denoiser=not arguments.keep_activations
    )
    with TemporaryDirectory() as folder:
        workload = load_workload(
            arguments.models,
            settings,
            base=base_of(family, arguments.models, Path(folder)),
            prompts=arguments.prompts,
            pairs=arguments.pairs,
            rank=arguments.rank,
            device=arguments.device,
        )
    result: dict[str, object] = {
        "settings": settings.model_dump() | {"prompts": arguments.prompts, "pairs": arguments.pairs},
        "models": str(arguments.models),
        "family": arguments.family,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with active_adapter(workload.models.online.denoiser, ONLINE):
        for part in arguments.parts:
            result[part] = PARTS[part](workload, Timing(arguments.repetitions, arguments.clock))
            print(part, json.dumps(result[part], indent=2))
    print(json.dumps(result))


def measure_time(workload: Workload, timing: Timing) -> dict[str, object]:
    """A full training step over the bare model calls it needs."""

    def measured_step() -> None:
        full_step(workload)
        workload.forget_gradients()

    make_calls = bare_model_calls(workload, step=0)

    def bare_step() -> None:
        make_calls()
        workload.forget_gradients()

    return alternate(measured_step, bare_step, timing, workload.models.online.device.type)


def measure_attention(workload: Workload, timing: Timing) -> dict[str, object]:
    """Denoising and its backward pass, with r of K gradient steps captured over none."""
    models, batch, settings = workload.models, workload.batch, workload.settings
    online, sampling = models.online, settings.sampling
    gradient_steps = range(sampling.gradient_steps)

    def denoising(captured_steps: range) -> None:
        latents, generators = start_from_noise(online, batch.trajectory_seeds, settings.resolution)
        result = denoise(
            online,
            latents,
            conditioning,
            models.unconditional.repeat(len(latents)),
            scheduler=models.scheduler,
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
            generators=generators,
            gradient_steps=gradient_steps,
            checkpoint_denoiser=settings.checkpoint_denoiser,
            capture=CaptureRequest(captured_steps) if captured_steps else None,
        )
        maps = [layer.square().sum() for step in result.attention_maps for layer in step.values()]
        torch.stack([result.latents.sum(), *maps]).sum().backward()
        workload.forget_gradients()

    conditioning = online.encode_prompts(batch.prompts, settings.resolution)
    captured = range(sampling.attention_steps)
    return alternate(lambda: denoising(captured), lambda: denoising(range(0)), timing, online.device.type)


def measure_memory(workload: Workload, timing: Timing) -> dict[str, object]:
    """Peak bytes of a step for each K (at T = 10, the least that holds them all) and each T (at the K given)."""
    del timing
    found = workload.discriminator.checkpoint_denoiser
    curves: dict[str, object] = {
        name: _memory_curves(
            replace(workload, settings=workload.settings.model_copy(update={"checkpoint_denoiser": recompute}))
        )
        for name, recompute in (("recomputing", True), ("keeping_activations", False))
    }
    workload.discriminator.checkpoint_denoiser = found
    return curves | {"repetitions": 1, "unit": "bytes above the start, counted at the allocator"}


PARTS: dict[str, Callable[[Workload, Timing], dict[str, object]]] = {
    "time": measure_time,
    "memory": measure_memory,
    "attention": measure_attention,
}


def _memory_curves(workload: Workload) -> dict[str, object]:
    workload.discriminator.checkpoint_denoiser = workload.settings.checkpoint_denoiser
    most = max(GRADIENT_STEP_COUNTS)
    _step_bytes(workload, T=most, K=1)  # what is made once and kept shall not count
    by_k = {count: _step_bytes(workload, T=most, K=count) for count in GRADIENT_STEP_COUNTS}
    by_t = {
        steps: _step_bytes(workload, T=steps, K=workload.settings.sampling.gradient_steps)
        for steps in INFERENCE_STEP_COUNTS
    }
    return {
        "peak_by_gradient_steps": by_k,
        "peak_by_inference_steps": by_t,
        "ratio_over_T": max(by_t.values()) / min(by_t.values()),
        "ratio_over_K": by_k[most] / by_k[1],
        "ratio_over_K_if_linear": most,
    }


def _step_bytes(workload: Workload, *, T: int, K: int) -> int:  # noqa: N803, the paper's names
    asked = {
        "num_inference_steps": T,
        "gradient_steps": K,
        "attention_steps": min(K, workload.settings.sampling.attention_steps),
    }
    sampling = workload.settings.sampling.model_copy(update=asked)
    chosen = replace(workload, settings=workload.settings.model_copy(update={"sampling": sampling}))
    workload.forget_gradients()
    return peak_bytes(lambda: full_step(chosen), str(workload.models.online.device))


def full_step(workload: Workload, autocast: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
    """All losses and both backward passes of one step.

    Args:
        autocast: makes the context of each forward pass.
    """
    models, batch, settings = workload.models, workload.batch, workload.settings
    with autocast():
        output = training_step(models, batch, settings, seed=SEED, step=0)
    output.total.backward()
    with autocast():
        scored = discriminator_step(models, batch, output, settings)
    scored.loss.backward()


def alternate(
    measured: Callable[[], None], against: Callable[[], None], timing: Timing, device: str
) -> dict[str, object]:
    """Time two calls in turn, first the one then the other in front, after one unmeasured round."""
    seconds: dict[str, list[float]] = {"measured": [], "against": []}
    for repetition in range(timing.repetitions + 1):
        pair = [("measured", measured), ("against", against)]
        for name, call in pair if repetition % 2 else reversed(pair):
            elapsed = _seconds(call, device, CLOCKS[timing.clock])
            if repetition:
                seconds[name].append(elapsed)
    ratios = sorted(a / b for a, b in zip(seconds["measured"], seconds["against"], strict=True))
    return {
        "ratio": median(ratios),
        "ratio_lowest": ratios[0],
        "ratio_highest": ratios[-1],
        "seconds": median(seconds["measured"]),
        "seconds_against": median(seconds["against"]),
        "repetitions": timing.repetitions,
        "clock": timing.clock,
    }


def _seconds(call: Callable[[], None], device: str, clock: Callable[[], float]) -> float:
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=miniature_folder(), help="default: the miniature models")
    parser.add_argument("--family", choices=FAMILIES, default="sd", help="of the base (default: sd, from --models)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repetitions", type=int, default=9, help="measured rounds of each timed part")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: this process's time, on a busy CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--resolution", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--prompts", type=int, default=4, help="prompts in the batch")
    parser.add_argument("--pairs", type=int, default=2, help="real images in the batch")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters")
    parser.add_argument("--num-inference-steps", type=int, default=50, help="T")
    parser.add_argument("--gradient-steps", type=int, default=5, help="K")
    parser.add_argument("--guidance-interval", type=float, nargs=2, help="timesteps that are guided (default: all)")
    parser.add_argument("--start-steps", type=int, nargs="+", help="drawn from; needs ddim (default: from noise)")
    parser.add_argument("--scheduler", help="default: the family's")
    parser.add_argument("--keep-activations", action="store_true", help="do not recompute the denoiser")
    arguments = parser.parse_args()
    if not (arguments.models / "base").is_dir():
        parser.error(f"{arguments.models} holds no folder named base")
    return arguments


def miniature_folder() -> Path:
    specification = find_spec("data")
    assert specification is not None and specification.origin is not None
    return Path(specification.origin).parent / "miniature"


if __name__ == "__main__":
    main()
