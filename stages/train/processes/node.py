"""The train stage on several machines: the first does what the stage does alone, the others help it to train."""

from contextlib import suppress

from comat_core.support.errors import UserError
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, stage_trained_by
from stages.train.processes.job import Job
from stages.train.processes.launching import processes_of_a_machine, run_with_other_machines
from stages.train.processes.machines import Machines

JOB = "job"
NOTHING = ""
"""Instead of a job: the artifact is there already."""


def run_on_machines(config: TrainConfig, inputs: Inputs, store: Store, machines: Machines) -> Artifact:
    """Return the finished artifact of the train stage. All machines call it alike.

    Checkpoints are the first machine's; every machine keeps its own copies of what it reads.

    Raises:
        UserError: the processes cannot be divided, the machines would train different models, or as the stage itself.
        TrainingStopped, TrainingProcessError: as the stage itself.
        MachineLostError: another machine has failed, or is gone.
    """
    processes_of_a_machine(config, machines.count)
    stage = stage_trained_by(lambda job: _train_as_first(job, machines))
    key = stage.key_for(config, inputs)
    if machines.is_first:
        artifact = stage.run(config, inputs, store)
        machines.tell(JOB, NOTHING)  # whoever has a job already asks no more
        return artifact
    _help(key, store, machines)
    return store.artifact(stage.name, key)


def _train_as_first(job: Job, machines: Machines) -> None:
    machines.tell(JOB, job.model_dump_json())
    run_with_other_machines(job, machines)


def _help(key: str, store: Store, machines: Machines) -> None:
    told = machines.hear(JOB)
    if told == NOTHING:
        return
    job = Job.model_validate_json(told)
    if job.run_name != key:
        what = f"{machines.name} would train {key}, and the first {job.run_name}"
        raise UserError(what, "train", "give all machines the same preset, settings, files and version of the package")
    folder = store.folder("train", key).working_folder()
    helping = job.model_copy(update={"folder": folder, "machine": machines.rank})
    try:
        run_with_other_machines(helping, machines)
    finally:
        with suppress(OSError):  # it is the first machine's too where they share a disk
            folder.rmdir()
