"""What a preset's training is made from, as the store has it: for work with it outside of a run."""

from comat_core.support.errors import UserError
from stages.plan.pipeline import Plan
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train.config import TrainConfig

TRAIN = "train"


def find_stored_inputs(plan: Plan, store: Store, preset: str) -> tuple[TrainConfig, dict[str, Artifact]]:
    """The train stage's config and inputs.

    Args:
        preset: as the user names it.

    Raises:
        UserError: the preset does not train, or an input is not there yet.
    """
    node = plan.by_name.get(TRAIN)
    if node is None or not isinstance(node.config, TrainConfig):
        raise UserError("the preset trains nothing", f"preset {preset}", "choose one with a train section")
    before, found = plan.with_inputs({TRAIN}) - {TRAIN}, dict[str, Artifact]()
    for planned in plan.nodes:
        if planned.name not in before:
            continue
        inputs = {role: found[source] for role, source in planned.inputs.items()}
        finding = store.look_up(planned.stage.name, planned.key, inputs, version=planned.stage.version)
        if finding.artifact is None:
            only = " ".join(f"--only {name}" for name in node.inputs.values())
            what = f"training's input {planned.name} is {finding.condition}"
            raise UserError(what, f"store {store.url}", f"run `comat run {preset} {only}` with the same settings first")
        found[planned.name] = finding.artifact
    return node.config, {role: found[source] for role, source in node.inputs.items()}
