"""The whole DAG, then `comat sample` and `comat export`, on a checkpoint of every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from comat_core.backbones.checkpoints.pipeline_index import read_index
from comat_core.backbones.families import FAMILIES
from comat_core.files.safetensors_files import read_metadata
from flows.command_line.cli import main
from tests.scaled_down import ARGUMENTS
from tests.tiny_families import TINY_FAMILIES, TinyFamily

CHECKPOINTS = ("sd", "sd2", "sdxl", "sd3", "flux dev", "pixart alpha", "sana")
WARM_UP = (
    "adapt={native_resolution: 128, images: 4, steps: 2, training_batch_size: 2, sampling: {num_inference_steps: 2}}"
)
IN_HALF_PRECISION = ("sd2", "sdxl")
READS_KOHYAS_NAMES = ("sd", "sd2", "sdxl")
"""Those whose stock pipeline does; for SD3 and FLUX ComfyUI and kohya's own tools do."""
UNKNOWN_TO_KOHYA = ("pixart alpha", "sana")
KEYS = {"sd": "unet.{}.lora.{}.weight", "sd2": "unet.{}.lora.{}.weight", "sdxl": "unet.{}.lora.{}.weight"}
KEYS |= {"pixart alpha": "base_model.model.{}.lora_{}.weight"}
OTHERS_KEYS = "transformer.{}.lora_{}.weight"
"""How a LoRA's file names a layer's two matrices."""
RANK = 2
SIDE = 64


def stock_image(family: TinyFamily, folder: Path, adapt: Callable[[Any], None] = lambda _: None) -> torch.Tensor:
    """Draw with the stock pipeline, after users have done to it what they do with a LoRA."""
    pipeline: Any = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    adapt(pipeline)
    return pipeline(
        "a red circle",
        height=SIDE,
        width=SIDE,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
        **family.stock_options,
    ).images


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_url")
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_from_prompts_to_report_and_out_into_other_tools(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = TINY_FAMILIES[kind]
    base, precision = family.save(tmp_path / "base"), "bf16" if kind in IN_HALF_PRECISION else "fp32"
    settings = [
        f"models.base={base}",
        "train.online.target_modules=null",
        f"train.online.rank={RANK}",
        f"train.discriminator.network.rank={RANK}",
    ]
    settings += ["train.online.learning_rate=0.05", f"train.tracking.folder={tmp_path / 'logs'}"]
    settings += [f"{section}.precision={precision}" for section in ("train", "latents")]
    settings += [f"{section}.sampling.scheduler={family.scheduler}" for section in ("latents", "train", "images")]
    settings += [WARM_UP] if kind == "sdxl" else []
    preset = ["miniature", *ARGUMENTS, *(part for setting in settings for part in ("--set", setting))]
    preset += ["--store", str(tmp_path / "store")]

    # The whole DAG, with the report's path as the last line.
    assert main(["run", *preset]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.splitlines()[-1]).is_file()
    assert "Memory plan, estimated:" in printed.err
    assert "Measured peak:" in printed.err

    # The LoRA has the paper's target modules in every layer, of the right shapes.
    assert main(["export", *preset, "--format", "diffusers", "--output", str(tmp_path / "lora")]) == 0
    backbone = FAMILIES[read_index(base).kind].backbone_class()
    lora = tmp_path / "lora" / backbone.lora_files.file_name
    denoiser = getattr(DiffusionPipeline.from_pretrained(base), backbone.denoiser_part)
    projections = {n: m for n, m in denoiser.named_modules() if n.endswith(backbone.adapter_targets)}
    weights = load_file(lora)
    key = KEYS.get(kind, OTHERS_KEYS)
    matrices = ("down", "up") if key.startswith("unet") else ("A", "B")
    assert len(weights) == 2 * len(projections)
    for name, module in projections.items():
        down, up = (weights[key.format(name, matrix)] for matrix in matrices)
        assert (down.shape, up.shape) == ((RANK, module.in_features), (module.out_features, RANK))
    assert read_metadata(lora)["comat.base"] == "base"
    card = (tmp_path / "lora" / "README.md").read_text()
    assert "base_model: base" in card
    assert ("adapted to 64 px" in card) == (kind == "sdxl")

    # The other forms give the stock pipeline the same image; SDXL's whole pipeline has the adapted denoiser besides.
    assert main(["export", *preset, "--format", "merged", "--output", str(tmp_path / "merged")]) == 0
    known = kind not in UNKNOWN_TO_KOHYA
    assert main(["export", *preset, "--format", "kohya", "--output", str(tmp_path / "kohya")]) == (0 if known else 2)
    image = stock_image(family, base, lambda pipeline: family.load_lora(pipeline, lora.parent))
    if kind in READS_KOHYAS_NAMES:
        (file,) = (tmp_path / "kohya").glob("*.safetensors")
        by_kohya = stock_image(family, base, lambda pipeline: pipeline.load_lora_weights(file))
        torch.testing.assert_close(by_kohya, image, atol=1e-4, rtol=0)
    assert (image - stock_image(family, base)).abs().max() > 1e-3
    if kind != "sdxl":
        torch.testing.assert_close(stock_image(family, tmp_path / "merged"), image, atol=1e-4, rtol=0)

    # Base and tuned side by side, a row per prompt.
    capsys.readouterr()
    picture = tmp_path / "samples.png"
    prompts = ["--prompt", "a red circle", "--prompt", "a green star"]
    assert main(["sample", *preset, *prompts, "--compare", "--output", str(picture)]) == 0
    assert capsys.readouterr().out == f"{picture}\n"
    assert Image.open(picture).size == (2 * SIDE, 2 * SIDE)
