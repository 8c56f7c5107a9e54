"""What a training step costs beyond the model calls it cannot avoid, in time and in memory.

    python -m benchmarks.train_step                                  # the miniature models, every part
    python -m benchmarks.train_step --family sd3 --parts time        # a base of another family, as large, untrained
    python -m benchmarks.train_step --models FOLDER --parts time --device cuda --resolution 512

FOLDER holds "base" (a diffusers pipeline), "captioner" (BLIP), "segmenter" (CLIPSeg) and, for the parts with rewards,
"vqa" (BLIP for questions). Parts:

time       a full step (both optimisers' backward passes, all losses) over the bare model calls, made alternately
memory     peak bytes of a step as K and as T grow, with and without recomputing the denoiser
attention  denoising that captures attention maps over denoising with fused attention alone, made alternately
rewards    as time, with two rewards beside concept activation: contrast and questions
projection a full step with these that projects their gradients (PCGrad) over one that adds them, made alternately
plan       the memory plan of the miniature preset with these rewards over the measured peak of its first step

The last line is one JSON object with the ratios and the number of repetitions.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.alternating import CLOCKS, Timing, alternate
from benchmarks.family_bases import FAMILIES, base_of
from benchmarks.peak_memory import peak_bytes
from benchmarks.planned_step import plan_against_peak
from benchmarks.rewarded_step import full_step, projected_step, step_over_bare_calls, with_rewards
from benchmarks.training_workload import ONLINE, Workload, load_workload
from comat_core.backbones.adapters import active_adapter
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.training.step_settings import StepSettings, TrainingSampler

GRADIENT_STEP_COUNTS = (1, 2, 5, 10)
INFERENCE_STEP_COUNTS = (10, 25, 50)


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
    return step_over_bare_calls(workload, timing)


def measure_rewards(workload: Workload, timing: Timing) -> dict[str, object]:
    """The same with two rewards beside concept activation."""
    return step_over_bare_calls(with_rewards(workload), timing)


def measure_projection(workload: Workload, timing: Timing) -> dict[str, object]:
    """A full step whose rewards' gradients are projected where they oppose each other, over one that adds them."""
    rewarded = with_rewards(workload)
    return alternate(
        lambda: projected_step(rewarded), lambda: full_step(rewarded), timing, workload.models.online.device.type
    )


def measure_plan(workload: Workload, timing: Timing) -> dict[str, object]:
    """The memory plan of the miniature preset with two rewards against what its first step takes."""
    del timing
    return plan_against_peak(str(workload.models.online.device))


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
    "rewards": measure_rewards,
    "projection": measure_projection,
    "plan": measure_plan,
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
