"""One of several training processes: `python -m stages.train.processes.worker JOB.json`, started by `launching`."""

import os
import signal
import sys
from pathlib import Path

from comat_core.support.parent_process import end_with_parent
from stages.train.processes.failures import FailureRecord
from stages.train.processes.job import Job
from stages.train.processes.termination import TrainingStopped


def main(arguments: list[str]) -> int:
    """Run the job, or leave a record of why it failed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports an interrupt, once for all
    end_with_parent()
    job = Job.model_validate_json(Path(arguments[0]).read_text())
    # Set before torch is imported: otherwise each process would take all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"]))))
    try:
        _select_gpu()
        job.work()
    except (Exception, TrainingStopped) as error:
        FailureRecord.of(error).write(Path(os.environ["TORCHELASTIC_ERROR_FILE"]))
        return 1
    return 0


def _select_gpu() -> None:
    """Make this process's own GPU the current one, so that nothing lands on another's."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
