"""A plan of regions, each with a prompt of its own, drawn by one model with a CoMat LoRA: the case of RPG.

RPG ("Recaption, Plan and Generate", arXiv 2401.11708) lets a language model split a prompt into regions and denoises
all of them at once. Here the plan is a file that `examples.plan_regions` writes, or it is given by hand: columns from
left to right.

    python -m examples.regional_prompts --base stable-diffusion-v1-5/stable-diffusion-v1-5 --lora sd15-diffusers \
        --prompt "a street with two cars" --region "a red car" --region "a green car" --output regions.png
    python -m examples.regional_prompts --base … --lora … --plan plan.json
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import save_image

from comat_core.backbones.loading import wrap_pipeline
from comat_core.backbones.text.conditioning import Conditioning
from examples.region_plan import Region, RegionPlan, read_plan


@torch.no_grad()
def draw_regions(
    pipeline: Any,
    prompt: str,
    regions: Sequence[Region],
    *,
    resolution: int,
    num_inference_steps: int,
    guidance_scale: float,
    prompt_weight: float,
    generator: torch.Generator,
) -> Tensor:
    """Denoise one image whose columns follow the regions' prompts while all of it follows the prompt.

    At every step each prompt predicts for the whole image, so that regions see each other; a region's prediction
    counts in its own column only.

    Args:
        pipeline: a stock pipeline, whatever LoRAs are loaded and active in it.
        prompt_weight: share of the whole image's prompt in every column, from 0 to 1.

    Returns:
        (1, 3, resolution, resolution) in [0, 1].
    """
    model = wrap_pipeline(pipeline)
    side = model.latent_size(resolution)
    texts = [prompt, *(region.prompt for region in regions)]
    unconditional = model.encode_unconditional(1, resolution)
    conditioning = Conditioning.concatenate([unconditional, model.encode_prompts(texts, resolution)])
    weights = _column_weights(regions, side, prompt_weight).to(model.device)
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(num_inference_steps)
    latents = torch.randn(1, model.latent_channels, side, side, generator=generator).to(model.device)
    latents = latents * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        rows = scheduler.scale_model_input(latents, timestep).expand(len(conditioning), -1, -1, -1)
        predictions = model.predict(rows, timestep.to(model.device).expand(len(rows)), conditioning)
        conditional = (weights * predictions[1:]).sum(dim=0, keepdim=True)
        guided = predictions[:1] + guidance_scale * (conditional - predictions[:1])
        latents = scheduler.step(guided, timestep, latents, generator=generator, return_dict=False)[0]
    return model.decode(latents).clamp(0, 1)


def _column_weights(regions: Sequence[Region], side: int, prompt_weight: float) -> Tensor:
    """How much each prompt counts where: (1 + regions, 1, side, side), which sum to 1 over the prompts."""
    shares = torch.tensor([region.share for region in regions])
    edges = [0, *(side * shares.cumsum(0) / shares.sum()).round().int().tolist()]
    weights = torch.zeros(1 + len(regions), 1, side, side)
    weights[0] = prompt_weight
    for number, (left, right) in enumerate(pairwise(edges), start=1):
        weights[number, :, :, left:right] = 1 - prompt_weight
    return weights


def main() -> None:
    from diffusers import DiffusionPipeline

    arguments = _arguments()
    plan = _plan(arguments)
    pipeline: Any = DiffusionPipeline.from_pretrained(arguments.base, use_safetensors=True)
    if arguments.lora:
        pipeline.load_lora_weights(arguments.lora)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    image = draw_regions(
        pipeline,
        plan.prompt,
        plan.regions,
        resolution=arguments.resolution,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        prompt_weight=arguments.prompt_weight,
        generator=torch.Generator().manual_seed(arguments.seed),
    )
    save_image(image, arguments.output)
    print(arguments.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="folder or hub id of the pipeline")
    parser.add_argument("--lora", help="folder of a LoRA, such as `comat export --format diffusers` writes")
    parser.add_argument("--plan", type=Path, help="file with prompt and regions; without it give both here")
    parser.add_argument("--prompt", help="of the whole image")
    parser.add_argument("--region", action="append", help="prompt of a column; again for the next one")
    parser.add_argument("--prompt-weight", type=float, default=0.3, help="share of the whole image's prompt (0 to 1)")
    parser.add_argument("--resolution", type=int, default=512, help="side of the image, pixels")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps")
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("regions.png"))
    arguments = parser.parse_args()
    by_hand = (arguments.prompt, arguments.region)
    if (None in by_hand) if arguments.plan is None else by_hand != (None, None):
        parser.error("give either --plan, or --prompt and --region")
    return arguments


def _plan(arguments: argparse.Namespace) -> RegionPlan:
    if arguments.plan is not None:
        return read_plan(arguments.plan)
    return RegionPlan(prompt=arguments.prompt, regions=tuple(Region(prompt=text) for text in arguments.region))


if __name__ == "__main__":
    main()
