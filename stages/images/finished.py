"""The finished artifacts that commands take a run's images from."""

from comat_core.support.errors import UserError
from stages.plan.pipeline import Plan
from stages.store.artifacts import Artifact
from stages.store.store import Store


def find_finished(plan: Plan, name: str, store: Store, preset: str) -> Artifact:
    """Look a node's artifact up.

    Args:
        name: of the node: prompts, images.base, ...
        preset: as the user named it, for the advice.

    Raises:
        UserError: the preset has no such node, or the store holds no usable artifact of it.
    """
    if name not in plan.by_name:
        known = ", ".join(node for node in plan.by_name if node.startswith("images."))
        raise UserError(f"the preset draws no {name}", "--split, --model", f"choose what it draws: {known}")
    node = plan.by_name[name]
    artifact = store.look_up(node.stage.name, node.key).artifact
    if artifact is None:
        advice = f"run `comat run {preset} --only {name}` with the same --set and --store first"
        raise UserError(f"the store holds no finished {name} artifact of this preset", f"key {node.key}", advice)
    return artifact
