"""The train stage: fine-tune a LoRA of the base model with the CoMat losses (Algorithm 1).

Writes `lora/pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights()` takes, and `metrics.parquet` with one
row per step; with a brake also `evaluations.parquet`, a row per evaluation, and `outcome.json`. Checkpoints stand in
the artifact's working folder until it is finished.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from stages.train.brake.files import EVALUATIONS_TABLE, OUTCOME, evaluations_table, read_outcome
from stages.train.brake.independence import check_judges
from stages.train.config import TrainConfig
from stages.train.metrics import METRICS, metrics_table

if TYPE_CHECKING:
    from stages.train.processes.job import Job


def build(config: TrainConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Train, or go on from the last checkpoint, and write the results."""
    _build(_train_here, config, inputs, writer)


def stage_trained_by(train: "Callable[[Job], None]") -> Stage[TrainConfig]:
    """The stage with its training carried out in another way: `train(job)` returns when the job is done."""
    return replace(STAGE, build=partial(_build, train))


def _train_here(job: "Job") -> None:
    from stages.train.processes.launching import run_in_processes

    if job.config.processes == 1:
        job.run()
    else:
        run_in_processes(job)


def _build(train: "Callable[[Job], None]", config: TrainConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    from stages.train.processes.job import Job
    from stages.train.tracking.trackers import check_trackers

    check_trackers(config.tracking.trackers)
    config.tracking.check_folder()
    check_judges(config)
    job = Job(
        config=config,
        inputs=dict(inputs),
        folder=writer.working_folder().absolute(),
        run_name=STAGE.key_for(config, inputs),
        claim=writer.held.claim if writer.held else None,
    )
    train(job)
    writer.add_folder(job.lora_folder, "lora/")
    writer.write_table(METRICS, metrics_table(job.read_history()))
    if config.brake is not None:
        writer.write_table(EVALUATIONS_TABLE, evaluations_table(job.folder))
        writer.write_json(OUTCOME, read_outcome(job.folder))


def fetch_files(config: TrainConfig) -> None:
    """What the config does, once it is known that the brake's judges are independent.

    Raises:
        UserError: one is a model that a loss looks at, or a file cannot be had.
    """
    check_judges(config)
    config.fetch_files()


def progress(config: TrainConfig, folder: Path) -> float:
    """The share of the steps that the newest checkpoint in the working folder has behind it."""
    from stages.train.learning.state import FOLDER_PREFIX, checkpoints

    found = checkpoints(folder / "checkpoints")
    return int(found[-1].name.removeprefix(FOLDER_PREFIX)) / config.steps if found else 0.0


STAGE = Stage(
    name="train",
    version=2,
    config_type=TrainConfig,
    inputs=("prompts", "entities", "latents", "pairs"),
    optional_inputs=("adapt",),
    fetch=fetch_files,
    build=build,
    resumable=True,
    progress=progress,
)
run = STAGE.run
