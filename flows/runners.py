"""The task runner that a preset's `execution` section asks for."""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_engine import run_task_sync
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from comat_core.support.errors import UserError
from flows.worker_processes import make_process_pool
from stages.plan.presets import Execution


class MainThreadTaskRunner(TaskRunner[PrefectConcurrentFuture[Any]]):
    """Runs each task when it is submitted, in the flow's own thread, and raises its failure there.

    Signals reach only a main thread, so this is how a stage learns that it is to stop.
    """

    def duplicate(self) -> "MainThreadTaskRunner":
        return MainThreadTaskRunner()

    def submit(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        run_id = uuid4()
        state = run_task_sync(
            task,
            task_run_id=run_id,
            parameters=parameters,
            wait_for=wait_for,
            return_type="state",
            dependencies=dependencies,
        )
        done: Future[Any] = Future()
        done.set_result(state)
        future = PrefectConcurrentFuture(run_id, done)
        future.result()
        return future


def make_task_runner(execution: Execution) -> TaskRunner[Any]:
    """Make the task runner: this process, a pool of processes on this machine, or a Dask or Ray cluster.

    Raises:
        UserError: the runner's package is not installed.
    """
    return RUNNERS[execution.runner](execution)


def _processes(execution: Execution) -> TaskRunner[Any]:
    return MainThreadTaskRunner() if execution.workers == 1 else make_process_pool(execution.workers)


def _dask(execution: Execution) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise _not_installed("dask") from error
    if execution.address is not None:
        return DaskTaskRunner(address=execution.address)
    return DaskTaskRunner(cluster_kwargs={"n_workers": execution.workers, "threads_per_worker": 1})


def _ray(execution: Execution) -> TaskRunner[Any]:
    try:
        from prefect_ray.task_runners import RayTaskRunner  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _not_installed("ray") from error
    if execution.address is not None:
        return RayTaskRunner(address=execution.address)
    return RayTaskRunner(init_kwargs={"num_cpus": execution.workers})


def _not_installed(name: str) -> UserError:
    return UserError(f"the {name} runner is not installed", "execution.runner", f"pip install comat-pipeline[{name}]")


RUNNERS = {"processes": _processes, "dask": _dask, "ray": _ray}
