"""Where a training is logged: TensorBoard always, and by setting any tracker that accelerate knows.

Trackers find their accounts and keys as they always do, in their own files and environment variables: none is a
setting, so that none can end up in a log or a manifest.
"""

from collections.abc import Sequence

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from comat_core.support.errors import UserError

TENSORBOARD = "tensorboard"
WHERE = "train.tracking.trackers"


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that every tracker can be used; accelerate would leave out those that it cannot load.

    Raises:
        UserError: accelerate does not know one of them, or its package is not installed.
    """
    built_in, available = set(LoggerType.list()), {str(tracker) for tracker in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(f"there is no tracker {name!r}", WHERE, f"choose from {', '.join(LOGGER_TYPE_TO_CLASS)}")
        if name in built_in and name not in available:
            raise UserError(f"the tracker {name!r} is not installed", WHERE, f"pip install {name}, or leave it out")


def start_trackers(accelerator: Accelerator, run_name: str, step: int) -> None:
    """Start all trackers of an accelerator. What TensorBoard holds of later steps, from a killed run, is void.

    Args:
        run_name: names this run's folder of logs; the same when it is resumed.
        step: the number of steps already taken.
    """
    accelerator.init_trackers(run_name, init_kwargs={TENSORBOARD: {"purge_step": step + 1}} if step else {})
