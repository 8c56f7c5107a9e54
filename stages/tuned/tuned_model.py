"""A preset's trained model, taken from the store: to sample from it, or to give it away."""

from dataclasses import dataclass

from comat_core.support.errors import UserError
from stages.images import ImagesConfig
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset
from stages.store.artifacts import Artifact
from stages.store.store import Condition, Store
from stages.train.config import TrainConfig


@dataclass(frozen=True)
class TunedModel:
    """The finished artifacts of a preset's training, with the settings it was made and is sampled by."""

    preset: str
    training: TrainConfig
    sampling: ImagesConfig
    artifacts: dict[str, Artifact]
    """"train", and "adapt" if the preset has that stage: inputs as the sampling stages take them."""


def find_tuned_model(preset: Preset, store: Store) -> TunedModel:
    """Look the trained model of a preset up in the store.

    Raises:
        UserError: the preset has not been trained in this store, or its artifact is damaged.
    """
    training, sampling = preset.sections.get("train"), preset.sections.get("images")
    if not isinstance(training, TrainConfig) or not isinstance(sampling, ImagesConfig):
        raise UserError("the preset trains no model", f"preset {preset.name}", "choose one with train and images")
    nodes = make_plan(preset.sections).by_name
    artifacts: dict[str, Artifact] = {}
    for name in ("adapt", "train"):
        if name in nodes:
            finding = store.look_up(nodes[name].stage.name, nodes[name].key)
            if finding.artifact is None:
                is_damaged = finding.condition is Condition.DAMAGED
                raise UserError(
                    f"the {name} artifact of this preset is damaged: {finding.problems[0]}"
                    if is_damaged
                    else f"the store holds no finished {name} artifact of this preset",
                    f"preset {preset.name}, key {nodes[name].key}",
                    f"run `comat run {preset.name} --only train` with the same --set and --store first",
                )
            artifacts[name] = finding.artifact
    return TunedModel(preset.name, training, sampling, artifacts)
