"""How far the miniature base model draws what held-out prompts say: it has the shapes, and mixes up who wears what."""

from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from comat_core.scorers.described_objects import DescribedObjectsJudge, JudgeMetric
from comat_core.scorers.judge import Judge
from comat_core.support.randomness import make_generator
from data.miniature_world.prompts import held_out_prompts

PROMPTS: Final = 200
BATCH_SIZE: Final = 50
STEPS: Final = 8
GUIDANCE_SCALE: Final = 3.0


def base_model_alignment(folder: Path, seed: int) -> dict[str, float]:
    """Draw held-out prompts of two objects, one image each, and ask the judge.

    Returns:
        Shares in [0, 1]: "base_objects", of the objects whose shape is there, and "base_all_right", of the images in
        which every object wears its own colour.
    """
    judge = Judge.load(str(folder / "judge"))
    prompts = [text for text, _ in held_out_prompts(seed, PROMPTS)]
    images = _drawn(folder / "base", prompts, seed)

    def share(metric: JudgeMetric) -> float:
        return DescribedObjectsJudge(judge, metric).prepare(prompts, images.device)(images).mean().item()

    return {"base_objects": share("object_accuracy"), "base_all_right": share("all_right")}


def _drawn(folder: Path, prompts: list[str], seed: int) -> torch.Tensor:
    """Images (prompts, 3, height, width) in [0, 1], each from noise of its own."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)  # incomplete annotations
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    images = []
    for start in range(0, len(prompts), BATCH_SIZE):
        batch = prompts[start : start + BATCH_SIZE]
        drawn = pipeline(
            batch,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
            generator=[make_generator(seed, "alignment", prompt) for prompt in batch],
            output_type="pt",
        )
        images.append(drawn.images.float())
    return torch.cat(images)
