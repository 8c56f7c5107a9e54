"""What a model card says of the brake: the rule, what every evaluation gave, and which of them is delivered."""

from collections.abc import Sequence

from comat_core.training.brake import Evaluation
from stages.train.brake.record import BrakeRecord, Outcome
from stages.train.brake.settings import BrakeSettings

_SECTION = """
## Which step this is

This training {outcome}.
Every {every} steps, {prompts} prompts (split "{split}") were drawn from the same noise, and models that no loss looks
at judged the images. {rule}
*Gain* is the weighted mean of what the judges' scores gained over the base model's, in standard deviations of the base
model's scores over the prompts.
{remark}
| {titles} |
| {rule_line} |
{rows}
"""
_WITH_DISTANCES = (
    "Delivered is the highest gain among the steps whose Fréchet distances stay within {budget:g} times the base "
    "model's own; where none does, the smallest ratio."
)
_WITHOUT = "Delivered is the highest gain; nothing measured how far images have come from the base model's."


def brake_section(settings: BrakeSettings, record: BrakeRecord, outcome: Outcome) -> str:
    """The section, in Markdown."""
    assert record.base is not None
    titles = ["step", *settings.judges, *(f"distance {name}" for name in settings.distances), "gain", "ratio", ""]
    base = record.base
    rows = [["base", *_numbers(settings, base.scores, base.distances), "0", "1" if base.distances else "", ""]]
    rows += [_row(settings, one, outcome) for one in record.evaluations]
    return _SECTION.format(
        outcome=f"{outcome}",
        every=settings.every,
        prompts=settings.prompts,
        split=settings.split,
        rule=_WITH_DISTANCES.format(budget=settings.budget) if settings.distances else _WITHOUT,
        remark=f"\n**Warning:** {outcome.remark}.\n" if outcome.remark else "",
        titles=" | ".join(titles),
        rule_line=" | ".join("---" for _ in titles),
        rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
    )


def _row(settings: BrakeSettings, evaluation: Evaluation, outcome: Outcome) -> Sequence[str]:
    name = f"{evaluation.step}{', averaged' if evaluation.averaged else ''}"
    place = (outcome.delivered_step, outcome.delivered_average)
    delivered = "delivered" if (evaluation.step, evaluation.averaged) == place else ""
    ratio = f"{evaluation.ratio:.3f}" if evaluation.distances else ""
    numbers = _numbers(settings, evaluation.scores, evaluation.distances)
    return [name, *numbers, f"{evaluation.gain:.3f}", ratio, delivered]


def _numbers(settings: BrakeSettings, scores: dict[str, float], distances: dict[str, float]) -> list[str]:
    return [
        *(f"{scores[name]:.4g}" for name in settings.judges),
        *(f"{distances[name]:.4g}" for name in settings.distances),
    ]
