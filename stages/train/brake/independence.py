"""Judges that a training looks at are none: they are refused before anything runs."""

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.independence import same_model
from stages.train.config import TrainConfig
from stages.train.helpers import helpers_of, judges_of


def check_judges(config: TrainConfig) -> None:
    """Compare the brake's checkpoints with those that the losses look at.

    Raises:
        UserError: one is the same, by its name or by its files.
    """
    looked_at = [(helper.role, reference) for helper in helpers_of(config) for reference in helper.references]
    for judge in judges_of(config):
        for own in judge.references:
            for role, other in looked_at:
                if same_model(own, other):
                    what = f"{judge.role} cannot judge: the training's {role} is the same checkpoint, {own.path}"
                    raise UserError(what, "train.brake", "choose a model that no loss looks at")
