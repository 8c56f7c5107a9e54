"""What one gradient costs: activations kept, recomputed in the backward pass, or the walk gone back step by step."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.gradient_estimators.estimators import ESTIMATORS
from benchmarks.gradient_estimators.problem import ONLINE, Problem, WalkOfProblem
from benchmarks.peak_memory import peak_bytes
from comat_core.backbones.adapters import active_adapter
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.support.randomness import derive_seed, make_generator

PROMPTS = 2
"""Rows that a cost is measured with: enough to see it, few enough to hold all activations."""
REPETITIONS = 3


def measure_cost(problem: Problem, count: int) -> dict[str, dict[str, float]]:
    """Way -> median seconds of the processor, peak bytes and calls of the guided denoiser, the loss's own included."""
    small = replace(problem, prompts=problem.prompts[:PROMPTS])
    found = {}
    for name, call in _ways(small, count).items():
        calls = _calls(small, call)
        seconds = sorted(_seconds(call) for _ in range(REPETITIONS))[REPETITIONS // 2]
        found[name] = {**calls, "seconds": seconds, "peak_bytes": float(peak_bytes(call))}
        print(name, found[name], flush=True)
    return found


def _ways(problem: Problem, count: int) -> dict[str, Callable[[], object]]:
    steps = problem.sampling.num_inference_steps

    def graph(gradient_steps: range, *, recomputed: bool, detached: bool = True) -> Callable[[], object]:
        return lambda: _by_graph(problem, gradient_steps, recomputed=recomputed, detached=detached)

    def walked(name: str, size: int, *, unconditional_graph: bool = True) -> Callable[[], object]:
        plan = ESTIMATORS[name](problem.reach, size, make_generator(0, "cost"))
        return lambda: WalkOfProblem.of(problem, 0, unconditional_graph=unconditional_graph).gradient(plan)

    def together(size: int) -> Callable[[], object]:
        plan = ESTIMATORS["drtune"](problem.reach, size, make_generator(0, "cost"))
        return lambda: WalkOfProblem.of(problem, 0).gradient_together(plan, size)

    return {
        "drtune K=1, kept": graph(range(1), recomputed=False),
        f"drtune K={count}, kept": graph(range(count), recomputed=False),
        "drtune K=1, recomputed": graph(range(1), recomputed=True),
        f"drtune K={count}, recomputed": graph(range(count), recomputed=True),
        "drtune K=1, walked back": walked("drtune", 1),
        f"drtune K={count}, walked back": walked("drtune", count),
        f"drtune K={count}, walked back in one batch": together(count),
        f"drtune K={count}, walked back, conditional half": walked("drtune", count, unconditional_graph=False),
        "full-chain, kept": graph(range(steps), recomputed=False, detached=False),
        "full-chain, recomputed": graph(range(steps), recomputed=True, detached=False),
        "full-chain, walked back": walked("full-chain", steps),
    }


def _by_graph(problem: Problem, gradient_steps: range, *, recomputed: bool, detached: bool) -> None:
    rows = len(problem.prompts)
    seeds = [derive_seed(0, "trajectory", row) for row in range(rows)]
    latents, generators = start_from_noise(problem.online, seeds, problem.resolution)
    with active_adapter(problem.online.denoiser, ONLINE):
        result = denoise(
            problem.online,
            latents,
            problem.online.encode_prompts(problem.prompts, problem.resolution),
            problem.online.encode_unconditional(rows, problem.resolution),
            scheduler=problem.scheduler,
            num_inference_steps=problem.sampling.num_inference_steps,
            guidance_scale=problem.sampling.guidance_scale,
            generators=generators,
            gradient_steps=gradient_steps,
            detach_denoiser_input=detached,
            checkpoint_denoiser=recomputed,
        )
    torch.autograd.grad(problem.loss(result.latents), problem.parameters)


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _calls(problem: Problem, call: Callable[[], object]) -> dict[str, float]:
    """Rows that the denoiser saw, over those of one guided call: with a graph, and without one."""
    seen = {"calls_with_graph": 0.0, "calls_without": 0.0}
    guided_rows = 2 * len(problem.prompts)

    def count(_module: object, inputs: tuple, named: dict) -> None:
        rows = len(inputs[0] if inputs else next(iter(named.values())))
        seen["calls_with_graph" if torch.is_grad_enabled() else "calls_without"] += rows / guided_rows

    handle = problem.online.denoiser.register_forward_pre_hook(count, with_kwargs=True)
    try:
        call()
    finally:
        handle.remove()
    return seen
