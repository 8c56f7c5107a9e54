"""Examinations that load large libraries, each in a process of its own: who waits no longer ends it.

    python -m stages.doctor.probe EXAMINATION   with a Request on standard input

prints one JSON object per line, as soon as it is known.
"""

import sys
from collections.abc import Callable, Iterator

from pydantic import BaseModel

from stages.doctor.disk import DiskPlan, plan_disk
from stages.doctor.findings import Finding
from stages.doctor.needs import examine_data, examine_models
from stages.plan.presets import Preset, load_preset
from stages.train.config import TrainConfig


class Request(BaseModel):
    """What is examined."""

    preset: str
    settings: list[str]
    unreachable: str | None = None
    """Why the hub gives no answer; None if it does."""


class Said(BaseModel):
    """One line of what is printed."""

    finding: Finding | None = None
    written: DiskPlan | None = None
    training_state: int | None = None
    """Bytes of the states that a training's checkpoint holds."""


def examine_hardware(preset: Preset, request: Request) -> Iterator[Said]:  # noqa: ARG001  (all are called alike)
    """The device, then the memory that training takes of it."""
    from stages.doctor.device import examine_device, examine_memory

    config = preset.sections.get("train")
    if isinstance(config, TrainConfig):
        for finding in examine_device(config):
            yield Said(finding=finding)
        finding, state = examine_memory(preset, config)
        yield Said(finding=finding, training_state=state)


def examine_models_here(preset: Preset, request: Request) -> Iterator[Said]:
    """The models."""
    for finding in examine_models(preset, request.unreachable):
        yield Said(finding=finding)


def examine_data_here(preset: Preset, request: Request) -> Iterator[Said]:  # noqa: ARG001
    """Images and prompts, and what a run will write about them."""
    for finding in examine_data(preset):
        yield Said(finding=finding)
    yield Said(written=plan_disk(preset))


EXAMINATIONS: dict[str, Callable[[Preset, Request], Iterator[Said]]] = {
    "hardware": examine_hardware,
    "models": examine_models_here,
    "data": examine_data_here,
}


def main() -> None:
    """Examine, and print."""
    request = Request.model_validate_json(sys.stdin.buffer.read())
    preset = load_preset(request.preset, request.settings)
    for said in EXAMINATIONS[sys.argv[1]](preset, request):
        print(said.model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
