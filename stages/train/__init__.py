"""The train stage: fine-tune a LoRA of the base model with the CoMat losses (Algorithm 1).

Writes `lora/pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights()` takes, the last checkpoints under
`checkpoints/`, and `metrics.parquet` with one row per step.
"""

from contextlib import nullcontext

import pyarrow as pa

from stages.artifacts import ArtifactWriter
from stages.stage import Inputs, Stage
from stages.train.config import TrainConfig

METRICS = "metrics.parquet"


def build(config: TrainConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Train, or go on from the last checkpoint, and write the results."""
    from comat_core.adapters import save_lora
    from stages.train.dataset import TrainingData
    from stages.train.loop import train
    from stages.train.models import ADAPTER_NAME, load_models
    from stages.train.reporting import make_accelerator

    folder = writer.working_folder()
    accelerator = make_accelerator(config)
    training_data = TrainingData.read(inputs, seed=config.seed)
    with inputs["adapt"].local_path("unet/") if "adapt" in inputs else nullcontext() as unet:
        models = load_models(config, accelerator.device, unet)
    state = train(
        config,
        models,
        training_data,
        accelerator,
        checkpoint_folder=folder / "checkpoints",
        run_name=STAGE.key_for(config, inputs),
    )
    save_lora(models.online, folder / "lora", ADAPTER_NAME)
    writer.add_folder(folder / "lora", "lora/")
    writer.write_table(METRICS, _metrics_table(state.history))


def _metrics_table(history: list[dict[str, float]]) -> pa.Table:
    columns = {name: [row.get(name) for row in history] for name in history[0]}
    return pa.table({**columns, "step": [int(row["step"]) for row in history]})


STAGE = Stage(
    name="train",
    version=1,
    config_type=TrainConfig,
    inputs=("prompts", "entities", "latents", "pairs"),
    optional_inputs=("adapt",),
    build=build,
    resumable=True,
)
run = STAGE.run
