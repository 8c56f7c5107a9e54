"""The training loop: Algorithm 1, step after step, resumable at every checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from comat_core.backbones.adapters import active_adapter
from comat_core.support.errors import UserError
from comat_core.training.question_failures import QuestionFailures
from comat_core.training.reward_strengths import RewardStrengths
from comat_core.training.training_inputs import CoMatModels
from stages.store.locks import Lease
from stages.train.brake.bench import Bench
from stages.train.brake.brake import Brake
from stages.train.brake.files import write_record
from stages.train.brake.record import BrakeRecord
from stages.train.brake.validation_set import ValidationPrompt
from stages.train.config import TrainConfig
from stages.train.data.dataset import TrainingData
from stages.train.learning.averages import copied, decay_after, update_average
from stages.train.learning.random_states import gather_random_states
from stages.train.learning.restoring import restore_together
from stages.train.learning.state import TrainingState
from stages.train.models import ADAPTER_NAME, make_trainee
from stages.train.processes.termination import TrainingStopped, termination_noticed
from stages.train.steps import Run, discriminator_update, online_step
from stages.train.tracking.reporting import Reporter
from stages.train.tracking.validation import draw_validation_images, validation_prompts


def train(
    config: TrainConfig,
    models: CoMatModels,
    training_data: TrainingData,
    accelerator: Accelerator,
    *,
    checkpoint_folder: Path,
    run_name: str,
    held: Lease | None = None,
    watched: tuple[Bench, Sequence[ValidationPrompt]] | None = None,
) -> TrainingState:
    """Train until `config.steps`, or until the brake ends it, from the newest checkpoint if there is one.

    Args:
        models: loaded models, the online one with its fresh LoRA; trained in place.
        accelerator: knows the processes that share the work, and the trackers.
        checkpoint_folder: local folder of the checkpoints.
        run_name: of the logs.
        held: the lease under which checkpoints are written.
        watched: who judges, and the prompts that they see images of; needed if `config.brake` is set.

    Raises:
        UserError: too many steps in a row had a non-finite loss or gradient.
        LeaseLostError: another run has taken the work over; nothing was saved since.
        TrainingStopped: after SIGTERM, once the state is saved.
    """
    # Initialize what learns and what stays.
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=config.precision == "fp16")
    state = _fresh_state(config, models, scaler)
    run = Run(config, models, training_data, accelerator)

    # Load the previous checkpoint.
    is_resumed = restore_together(state, checkpoint_folder, accelerator)
    brake = None if watched is None else Brake(run, state, *watched)
    reporter = Reporter(config, accelerator, run_name, state.step)

    # Main training loop.
    with termination_noticed() as termination, active_adapter(models.online.denoiser, ADAPTER_NAME):
        if not is_resumed:
            _validate(run, reporter, step=0)
            if brake is not None:
                brake.judge_base()
        while state.step < config.steps and not (brake is not None and brake.is_over):
            micro_batches, online = online_step(run, state)
            discriminator = discriminator_update(run, state, micro_batches)
            scaler.update()

            # Count the step and report it.
            _count(config, state, (*online.nonfinite, *discriminator.nonfinite))
            _average(config, state, online.nonfinite)
            metrics = online.metrics | discriminator.metrics | {"skipped": float(state.skipped)}
            metrics |= brake.after_step() if brake is not None else {}
            state.history.append({"step": float(state.step), **metrics})
            reporter.step(state.step, metrics, micro_batches[0][1].images)
            _validate(run, reporter, step=state.step)

            # Save a checkpoint, unless the folder has become another run's.
            if held is not None and accelerator.is_main_process:
                held.check()
            if brake is not None and brake.has_judged and accelerator.is_main_process:
                write_record(checkpoint_folder.parent, brake.record)
            stopping = _noticed_anywhere(bool(termination), accelerator)
            if stopping or state.step % config.checkpoints.every == 0:
                _save(run, state, checkpoint_folder)
            if stopping:
                accelerator.wait_for_everyone()  # a process that left earlier would take the others with it
                reporter.close()
                raise TrainingStopped(f"training stopped by a signal after step {state.step}; run again to go on")
    reporter.close()
    return state


def _save(run: Run, state: TrainingState, folder: Path) -> None:
    """Write a checkpoint of what all processes know of; each has to call this."""
    random_states = gather_random_states(run.accelerator)
    if run.accelerator.is_main_process:
        state.save(folder, random_states, keep=run.config.checkpoints.keep)


def _fresh_state(config: TrainConfig, models: CoMatModels, scaler: torch.amp.GradScaler) -> TrainingState:
    state = TrainingState(make_trainee(config, models), scaler)
    if config.online.average_decay is not None:
        state.average = copied(state.trainee.online.parameters)
    if config.brake is not None:
        state.brake = BrakeRecord(fidelity_weight=config.weights.fidelity)
    if config.yardsticks:
        state.strengths = RewardStrengths()
    if config.weighed_by_failures:
        state.failures = QuestionFailures()
    return state


def _average(config: TrainConfig, state: TrainingState, nonfinite: Sequence[str]) -> None:
    """Let the moving average follow a step that was not skipped."""
    decay = config.online.average_decay
    if decay is not None and state.average is not None and not nonfinite:
        update_average(state.average, state.trainee.online.parameters, decay_after(state.step, decay))


def _count(config: TrainConfig, state: TrainingState, nonfinite: tuple[str, ...]) -> None:
    """Count the step, and the skipped ones; stop a run that goes nowhere."""
    state.step += 1
    state.skipped += bool(nonfinite)
    state.skipped_in_a_row = state.skipped_in_a_row + 1 if nonfinite else 0
    if state.skipped_in_a_row >= config.nonfinite_limit:
        raise UserError(
            f"{state.skipped_in_a_row} steps in a row had a non-finite loss or gradient, the last in {nonfinite[0]}",
            f"train, step {state.step}",
            "lower the learning rates, or choose precision bf16 or fp32",
        )


def _validate(run: Run, reporter: Reporter, *, step: int) -> None:
    """Draw the validation prompts if it is their turn; at step 0, they show the base model."""
    every = run.config.tracking.validation_every
    if not every or step % every:
        return
    # The main process shows them, and draws alone unless the others have to lend it their shares of the base.
    if not run.accelerator.is_main_process and not run.config.hardware.shard_base:
        return
    prompts = validation_prompts(run.config, run.training_data)
    with run.autocast():
        images = draw_validation_images(run.models, run.config, prompts)
    reporter.pictures("validation", step, images)


def _noticed_anywhere(noticed: bool, accelerator: Accelerator) -> bool:
    """All processes stop after the same step, whichever of them got the signal."""
    if accelerator.num_processes == 1:
        return noticed
    flag = accelerator.reduce(torch.tensor(float(noticed), device=accelerator.device), reduction="sum")
    assert isinstance(flag, torch.Tensor)
    return flag.item() > 0
