"""The flow: from a preset to the report, or any part of the way."""

import logging
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.execution import Outcome, carry_out
from flows.publishing import publish
from flows.unknown_parameters import end_run_with_unknown_parameters
from stages.plan.history import record_results
from stages.plan.pipeline import fetch_files, is_trained, make_plan
from stages.plan.presets import load_preset, preset_names
from stages.plan.refreshes import begin_refresh, end_refresh
from stages.plan.runs import recorded_run
from stages.report.timeline import write_timeline
from stages.store.store import Store, default_store

logger = logging.getLogger("comat")

# Shown beside the fields of the form in Prefect's UI; what they mean stands in the flow's docstring.
PresetName = Annotated[str, Field(min_length=1, examples=preset_names())]
StageNames = Annotated[list[str] | None, Field(examples=[["train"], ["evaluate"]])]
StoreUrl = Annotated[str | None, Field(min_length=1, examples=["runs", "s3://bucket/comat"])]
Title = Annotated[str | None, Field(min_length=1, examples=["sd15 with more steps"])]
OnlyIfTrained = Annotated[bool, Field(examples=[True])]
Settings = Annotated[list[str] | None, Field(examples=[["train.steps=200", "seed=2"]])]


@flow(name="comat", flow_run_name="{preset}", persist_result=False, validate_parameters=True)
def comat(
    preset: PresetName,
    only: StageNames = None,
    refresh: StageNames = None,
    store: StoreUrl = None,
    settings: Settings = None,
    recorded_as: Title = None,
    only_if_trained: OnlyIfTrained = False,
) -> dict[str, Outcome]:
    """Fine-tune a text-to-image model with CoMat and measure the result.

    Every stage whose artifact is in the store already is taken from there. With `only`, the run ends at those stages;
    with `refresh`, those stages and what depends on them are computed again.

    Args:
        preset: a shipped preset (`comat presets` lists them) or the path of a .yaml file.
        only: stages to run, with the inputs they lack; all by default.
        refresh: stages to compute again, with what depends on them.
        store: folder or fsspec URL of the store; by default the worker's COMAT_STORE, or the folder runs.
        settings: overrides of the preset, each as dotted.key=value.
        recorded_as: `comat gc` keeps the last runs of each such name, which has a time line of its own; by default the
            preset's.
        only_if_trained: do nothing while the store holds no training of the preset. A scheduled evaluation measures
            what has been trained, and never sets out to train.
    """
    chosen = load_preset(preset, settings or [])
    plan = make_plan(chosen.sections)
    place = Store(store or default_store())
    if only_if_trained and not is_trained(plan, place):
        logger.info("%s: not trained yet, nothing to do", chosen.name)
        return {}
    wanted = plan.wanted(only or [])
    renewed = plan.renewed(refresh or [], wanted)
    place.mark()
    fetch_files(plan, wanted, renewed, place)
    title = recorded_as or chosen.name
    refresh_note = begin_refresh(plan, renewed, place)
    with recorded_run(place, title, plan, wanted):
        outcomes = carry_out(plan, wanted, place, chosen.shared.execution)
        end_refresh(place, refresh_note)
        recorded = record_results(place, title, plan, {name: outcome.artifact for name, outcome in outcomes.items()})
    publish(chosen.name, outcomes, write_timeline(place, title) if recorded else None)
    return outcomes


end_run_with_unknown_parameters(comat)

if __name__ == "__main__":
    comat(preset="miniature")
