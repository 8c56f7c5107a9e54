"""The flow: from a preset to the report, or any part of the way."""

from prefect import flow

from flows.execution import Outcome, carry_out
from flows.publishing import publish
from stages.pipeline import Plan, discard_steps, make_plan
from stages.presets import load_preset
from stages.runs import record_run
from stages.store import DEFAULT_STORE, Store


@flow(name="comat", flow_run_name="{preset}", persist_result=False, validate_parameters=True)
def comat(
    preset: str,
    only: list[str] | None = None,
    refresh: list[str] | None = None,
    store: str = DEFAULT_STORE,
    settings: list[str] | None = None,
) -> dict[str, Outcome]:
    """Fine-tune a text-to-image model with CoMat and measure the result.

    Every stage whose artifact is in the store already is taken from there. With `only`, the run ends at those stages;
    with `refresh`, those stages and what depends on them are computed again.

    Args:
        preset: a shipped preset (`comat presets` lists them) or the path of a .yaml file.
        only: stages to run, with the inputs they lack; all by default.
        refresh: stages to compute again, with what depends on them.
        store: folder or fsspec URL of the store.
        settings: overrides of the preset, each as dotted.key=value.
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
    publish(chosen.name, outcomes)
    return outcomes


def wanted_steps(plan: Plan, only: list[str]) -> set[str]:
    """The steps that a run has to have: all, or the chosen ones with their inputs."""
    if not only:
        return set(plan.by_name)
    return plan.with_inputs(plan.select(only, "--only"))


if __name__ == "__main__":
    comat(preset="miniature")
