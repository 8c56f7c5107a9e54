"""The task runner that a preset's `execution` section asks for."""

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from comat_core.errors import UserError
from stages.presets import Execution


def make_task_runner(execution: Execution) -> TaskRunner[Any]:
    """Make the task runner: threads of this process, or a Dask or Ray cluster, started here or already running.

    Raises:
        UserError: the runner's package is not installed.
    """
    return RUNNERS[execution.runner](execution)


def _threads(execution: Execution) -> TaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=execution.workers)


def _dask(execution: Execution) -> TaskRunner[Any]:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise _not_installed("dask") from error
    if execution.address is not None:
        return DaskTaskRunner(address=execution.address)
    return DaskTaskRunner(cluster_kwargs={"n_workers": execution.workers, "threads_per_worker": 1})


def _ray(execution: Execution) -> TaskRunner[Any]:
    try:
        from prefect_ray import RayTaskRunner  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _not_installed("ray") from error
    if execution.address is not None:
        return RayTaskRunner(address=execution.address)
    return RayTaskRunner(init_kwargs={"num_cpus": execution.workers})


def _not_installed(name: str) -> UserError:
    return UserError(f"the {name} runner is not installed", "execution.runner", f"pip install comat-pipeline[{name}]")


RUNNERS = {"threads": _threads, "dask": _dask, "ray": _ray}
