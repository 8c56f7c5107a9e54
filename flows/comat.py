"""The flow: from a preset to the report, or any part of the way."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.execution import Outcome, carry_out
from flows.publishing import publish
from stages.pipeline import Plan, discard_steps, make_plan
from stages.presets import load_preset
from stages.runs import record_run
from stages.store import DEFAULT_STORE, Store


@flow(name="comat", flow_run_name="{preset}", persist_result=False, validate_parameters=True)
def comat(
    preset: Annotated[str, Field(description="a shipped preset (comat presets lists them) or a .yaml file")],
    only: Annotated[list[str] | None, Field(description="stages to run, with the inputs they lack")] = None,
    refresh: Annotated[list[str] | None, Field(description="stages to recompute, with their dependents")] = None,
    store: Annotated[str, Field(description="folder or fsspec URL of the store")] = DEFAULT_STORE,
    settings: Annotated[list[str] | None, Field(description="overrides of the preset, as dotted.key=value")] = None,
) -> dict[str, Outcome]:
    """Fine-tune a text-to-image model with CoMat and measure the result.

    Every stage whose artifact is in the store already is taken from there. With `only`, the run ends at those stages;
    with `refresh`, those stages and what depends on them are computed again.
    """
    chosen = load_preset(preset, settings or [])
    plan = make_plan(chosen.sections)
    wanted = wanted_steps(plan, only or [])
    renewed = plan.with_dependents(plan.select(refresh or [], "--refresh")) & wanted
    place = Store(store)
    place.check_writable()
    record_run(place, chosen.name, plan)
    discard_steps(plan, renewed, place)
    outcomes = carry_out(plan, wanted, place, chosen.shared.execution)
    publish(chosen.name, outcomes, place)
    return outcomes


def wanted_steps(plan: Plan, only: list[str]) -> set[str]:
    """The steps that a run has to have: all, or the chosen ones with their inputs."""
    if not only:
        return set(plan.by_name)
    return plan.with_inputs(plan.select(only, "--only"))


if __name__ == "__main__":
    comat(preset="miniature")
