"""The published architectures at full size, with random weights: does a training step fit, and do the numbers agree?

    python -m benchmarks.full_size                          # SD 1.5, BLIP-large, 512 px: about 20 GiB and half an hour
    python -m benchmarks.full_size --parts sdxl             # SDXL's UNet: its plan, and a call if the memory is there
    python -m benchmarks.full_size --tiny                   # the same program on small networks, in seconds

Parts:

step   one whole training step (all losses, both backward passes, both optimisers) of SD 1.5 at rank 128, with
       BLIP-large as the captioner, and its peak of resident memory against --limit; the masks are ready-made
sdxl   SDXL's UNet in bfloat16: the LoRA's size, and one denoising step with gradient, or why it would not fit
sd35   one whole training step of Stable Diffusion 3.5 medium's transformer in float32 at 64 px, of the
       preset's ranks; text encoders have two layers, T5 is left out, the captioner is a small one
pixart the same of PixArt-alpha's transformer, beside a T5 of one layer
flux   the memory plan of the preset flux-dev, all networks whole but without data: in bfloat16, and with the base
       quantised by torchao and by bitsandbytes

The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from benchmarks.full_size_models import Sizes, full_sizes, save_blip, save_stable_diffusion, sdxl_unet, tiny_sizes
from benchmarks.full_size_planned import measure_flux
from benchmarks.full_size_step import (
    CPU,
    GIBIBYTE,
    LeftAndRight,
    count,
    expected_lora_parameters,
    peak_facts,
    take_step,
)
from benchmarks.full_size_trained import measure_transformer
from benchmarks.training_workload import ONLINE, SEED
from comat_core.backbones.adapters import active_adapter, add_lora, add_lora_to
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.captioners.blip import BlipCaptioner
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.sampling.schedulers import make_scheduler
from comat_core.support.memory.activation_memory import kept_activations, without_data
from comat_core.support.memory.memory_allocator import keep_freed_memory
from comat_core.support.precisions import made_in
from comat_core.training.step_settings import StepSettings, TrainingSampler
from comat_core.training.training_inputs import CoMatModels
from stages.train.memory_plan import peak_bytes


def main() -> None:
    arguments = _arguments()
    sizes = tiny_sizes() if arguments.tiny else full_sizes()
    keep_freed_memory()
    result: dict[str, object] = {"tiny": arguments.tiny, "torch": torch.__version__, "repetitions": 1}
    for part in arguments.parts:
        alone = len(arguments.parts) == 1
        result[part] = PARTS[part](sizes, arguments) if alone else _in_a_process(part)
        print(part, json.dumps(result[part], indent=2), flush=True)
    print(json.dumps(result))


def _in_a_process(part: str) -> object:
    """Measure a part in a process of its own: the peak of resident memory is the whole process's."""
    options = sys.argv[1:]
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.full_size", *options, "--parts", part],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if finished.returncode:
        return {"failed": True, "exit_code": finished.returncode}  # -9 if memory ran out
    return json.loads(finished.stdout.splitlines()[-1])[part]


def measure_step(sizes: Sizes, arguments: argparse.Namespace) -> dict[str, object]:
    """One training step of SD 1.5 as the train stage takes it, from checkpoints on disk."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        base, captioner = save_stable_diffusion(Path(folder) / "base", sizes), save_blip(Path(folder) / "blip", sizes)
        online = load_backbone(base)
        unet_parameters = count(online.denoiser)
        add_lora(online, ONLINE, rank=sizes.rank, seed=SEED)
        sampling = TrainingSampler(
            num_inference_steps=arguments.num_inference_steps,
            gradient_steps=arguments.gradient_steps,
            attention_steps=1,
        )
        settings = StepSettings(resolution=sizes.resolution, sampling=sampling, checkpoint_decoder=True)
        scheduler = make_scheduler(online.scheduler, "ddpm")
        discriminator = DenoiserDiscriminator(
            online,
            rank=sizes.rank,
            resolution=sizes.resolution,
            timestep=scheduler.last_timestep(sampling.num_inference_steps),
            seed=SEED,
            checkpoint_denoiser=True,
        )
        models = CoMatModels(
            online=online,
            scheduler=scheduler,
            unconditional=online.encode_unconditional(1, sizes.resolution),
            captioner=BlipCaptioner.load(captioner),
            discriminator=discriminator,
            segmenter=LeftAndRight(),
        )
    assert isinstance(models.captioner, BlipCaptioner)
    return {
        "unet_parameters": unet_parameters,
        "text_encoder_parameters": count(online.pipeline.text_encoder),
        "captioner_parameters": count(models.captioner.model),
        "lora_rank": sizes.rank,
        "lora_parameters_expected": expected_lora_parameters(online.denoiser, sizes.rank, online.adapter_targets),
        **take_step(models, discriminator, settings),
        **peak_facts(arguments.limit),
    }


def measure_sdxl(sizes: Sizes, arguments: argparse.Namespace) -> dict[str, object]:
    """SDXL's UNet: planned on tensors without data; called for real only if the plan fits what is free."""
    with without_data():
        planned = _in_bfloat16(sizes)
    parameters = count(planned)
    expected = expected_lora_parameters(planned, sizes.rank, Backbone.adapter_targets)
    weights, adapter = 2 * parameters, 4 * expected  # bfloat16 weights, a float32 LoRA
    activations = kept_activations(lambda: _denoise_once(planned, sizes), [planned])
    needed = weights + 4 * adapter + 2 * activations
    free = _free_bytes()
    plan: dict[str, object] = {
        "unet_parameters": parameters,
        "lora_rank": sizes.rank,
        "lora_parameters_expected": expected,
        "bytes_of_weights": weights,
        "bytes_of_lora_gradient_and_optimiser": 4 * adapter,
        "bytes_of_activations_without_recomputing": activations,
        "bytes_needed": needed,
        "bytes_free": free,
        "fits": needed <= min(free, arguments.limit * GIBIBYTE),
    }
    if not plan["fits"]:
        return plan | {"run": False, "reason": "needs more memory than is free or than --limit allows"}
    unet = _in_bfloat16(sizes)
    lora = add_lora_to(unet, ONLINE, rank=sizes.rank, seed=SEED, target_modules=Backbone.adapter_targets)
    start = time.perf_counter()
    with active_adapter(unet, ONLINE), torch.autocast("cpu", torch.bfloat16):
        _denoise_once(unet, sizes).float().square().mean().backward()
    seconds = time.perf_counter() - start
    AdamW(lora, lr=2e-5).step()
    peak = peak_bytes(CPU)
    return plan | {
        "run": True,
        "lora_parameters": count(*lora),
        "lora_tensors_with_gradient": sum(parameter.grad is not None for parameter in lora),
        "seconds": round(seconds, 1),
        "peak_resident_bytes": peak,
        "peak_resident_gibibytes": round(peak / GIBIBYTE, 2),
    }


def measure_sd35(sizes: Sizes, arguments: argparse.Namespace) -> dict[str, object]:
    """One training step of Stable Diffusion 3.5 medium's transformer."""
    del sizes
    return measure_transformer("sd35", arguments)


def measure_pixart(sizes: Sizes, arguments: argparse.Namespace) -> dict[str, object]:
    """One training step of PixArt-alpha's transformer."""
    del sizes
    return measure_transformer("pixart", arguments)


def plan_flux(sizes: Sizes, arguments: argparse.Namespace) -> dict[str, object]:
    """What training FLUX.1-dev would take."""
    del sizes
    return measure_flux(arguments)


PARTS = {
    "step": measure_step,
    "sdxl": measure_sdxl,
    "sd35": measure_sd35,
    "pixart": measure_pixart,
    "flux": plan_flux,
}


def _denoise_once(unet: Any, sizes: Sizes) -> Tensor:
    """One guided call with its graph: a conditional and an unconditional row."""
    config, dtype = unet.config, torch.bfloat16
    side = sizes.resolution // sizes.vae_scale_factor
    text_width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    latents = torch.zeros(2, config.in_channels, side, side, dtype=dtype, requires_grad=True)
    added = {
        "text_embeds": torch.zeros(2, text_width, dtype=dtype),
        "time_ids": torch.zeros(2, 6, dtype=dtype),
    }
    prompts = torch.zeros(2, 77, config.cross_attention_dim, dtype=dtype)
    return unet(latents, torch.zeros(2), prompts, added_cond_kwargs=added, return_dict=False)[0]


def _in_bfloat16(sizes: Sizes) -> Any:
    """Make the UNet in bfloat16 at once: in float32 first it would take twice the memory."""
    with made_in(torch.bfloat16):
        return sdxl_unet(sizes).requires_grad_(False).eval()


def _free_bytes() -> int:
    """Memory that can be had without swapping; what this process may still take, on Linux."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise RuntimeError("/proc/meminfo does not say what is available")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--num-inference-steps", type=int, default=2, help="T (default: 2)")
    parser.add_argument("--gradient-steps", type=int, default=1, help="K (default: 1)")
    parser.add_argument("--limit", type=float, default=20.0, help="GiB that a part may take (default: 20)")
    parser.add_argument("--folder", type=Path, help="for the checkpoints, 6 GB for a while (default: the system's)")
    parser.add_argument("--tiny", action="store_true", help="small networks of the same kinds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
