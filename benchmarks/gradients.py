"""How far each estimator of the gradient is from the exact one, how much it scatters, and what it costs.

    python -m benchmarks.gradients                                # the miniature models, about ten minutes on a core
    python -m benchmarks.gradients --parts cost --prompts 2

FOLDER holds "base" (a diffusers pipeline) and "captioner" (BLIP). Parts:

quality  of every estimator, over draws at the same noises: cosine to the exact gradient of the full chain, of single
         draws and of their mean; length of the mean over the exact one's; scatter, the root mean square distance of
         draws from their mean over the mean's length
cost     of one gradient with activations kept, recomputed, and walked back step by step: seconds, peak bytes, calls

The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from benchmarks.gradient_estimators.costs import measure_cost
from benchmarks.gradient_estimators.end_estimators import draft_lv, refl
from benchmarks.gradient_estimators.estimators import ESTIMATORS
from benchmarks.gradient_estimators.problem import Problem, WalkOfProblem
from benchmarks.train_step import miniature_folder
from comat_core.settings import Sampler
from comat_core.support.randomness import make_generator
from data.miniature_world.prompts import training_prompts

FEW_DRAWS = ("bridge", "chosen-chain", "refl", "draft-lv")
"""Each of whose draws costs calls of its own; those of the others share them."""


def main() -> None:
    arguments = _arguments()
    sampling = Sampler(scheduler=arguments.scheduler, num_inference_steps=arguments.steps, guidance_scale=3.0)
    prompts = [text for text, *_ in training_prompts(0, arguments.prompts)]
    problem = Problem.load(arguments.models, sampling, prompts, resolution=arguments.resolution, rank=16, seed=0)
    result: dict[str, object] = {
        "prompts": arguments.prompts,
        "sampling": sampling.model_dump(),
        "count": arguments.count,
        "parameters": sum(parameter.numel() for parameter in problem.parameters),
        "threads": torch.get_num_threads(),
    }
    if "quality" in arguments.parts:
        result["quality"] = measure_quality(problem, arguments)
    if "cost" in arguments.parts:
        result["cost"] = measure_cost(problem, arguments.count)
    print(json.dumps(result))


def measure_quality(problem: Problem, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Estimator -> its figures, averaged over the noises."""
    figures: dict[str, list[dict[str, float]]] = {}
    for noise in range(arguments.noises):
        walked = WalkOfProblem.of(problem, noise)
        exact = walked.gradient(ESTIMATORS["full-chain"](problem.reach, 0, make_generator(0, "none")))
        halved = WalkOfProblem.of(problem, noise, unconditional_graph=False)
        for name, draw in _estimators(problem, walked, halved, arguments.count).items():
            many = 1 if name.startswith("full-chain") else arguments.draws
            many = min(many, arguments.few_draws) if name in FEW_DRAWS else many
            gradients = [draw(make_generator(noise, "draw", name, index)) for index in range(many)]
            figures.setdefault(name, []).append(compare(torch.stack(gradients), exact))
            print(noise, name, figures[name][-1], flush=True)
    return {name: {key: mean(one[key] for one in found) for key in found[0]} for name, found in figures.items()}


def compare(gradients: Tensor, exact: Tensor) -> dict[str, float]:
    """Figures of draws (n, P) against the exact gradient (P,)."""
    middle = gradients.mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(gradients, exact[None], dim=1)
    scatter = (gradients - middle).square().sum(dim=1).mean().sqrt()
    return {
        "draws": float(len(gradients)),
        "cosine": float(cosines.mean()),
        "cosine_lowest": float(cosines.min()),
        "cosine_of_mean": float(torch.nn.functional.cosine_similarity(middle, exact, dim=0)),
        "length": float(middle.norm() / exact.norm()),
        "scatter": float(scatter / middle.norm()),
    }


def _estimators(
    problem: Problem, walked: WalkOfProblem, halved: WalkOfProblem, count: int
) -> dict[str, Callable[[torch.Generator], Tensor]]:
    reach = problem.reach

    def planned(name: str, walk: WalkOfProblem) -> Callable[[torch.Generator], Tensor]:
        return lambda generator: walk.gradient(ESTIMATORS[name](reach, count, generator))

    return {
        **{name: planned(name, walked) for name in ESTIMATORS},
        "drtune, conditional half": planned("drtune", halved),
        "full-chain, conditional half": planned("full-chain", halved),
        "refl": lambda generator: refl(walked, generator),
        "draft-lv": lambda generator: draft_lv(walked, generator),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=miniature_folder(), help="default: the miniature models")
    parser.add_argument("--parts", nargs="+", choices=("quality", "cost"), default=["quality", "cost"])
    parser.add_argument("--resolution", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--noises", type=int, default=1, help="walks per prompt")
    parser.add_argument("--draws", type=int, default=64, help="of each estimator at each noise")
    parser.add_argument("--few-draws", type=int, default=4, help=f"of {', '.join(FEW_DRAWS)}")
    parser.add_argument("--scheduler", default="ddim")
    parser.add_argument("--steps", type=int, default=8, help="T")
    parser.add_argument("--count", type=int, default=4, help="K")
    return parser.parse_args()


if __name__ == "__main__":
    main()
