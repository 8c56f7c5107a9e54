"""`comat captioners`: which captioner to train with, measured by what it can tell apart (the paper's Table 7)."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from comat_core.metrics.bootstrap import Estimate
from comat_core.support.errors import UserError, first_problem
from flows.command_line.arguments import add_command, add_preset, positive
from flows.command_line.presets_and_stores import named_preset
from stages.evaluate.sensitivity import SensitivityConfig
from stages.models.captioners import AnyCaptioner
from stages.plan.config import ModelReference
from stages.studies.captioner_choice.choosing import CHANCE, Choice, choose
from stages.studies.captioner_choice.measuring import Candidate, Measured, measure_captioners
from stages.train.config import TrainConfig


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "captioners", captioners, "measure which captioner to train with")
    add_preset(command, with_store=False)
    command.add_argument(
        "--captioner",
        dest="others",
        action="append",
        default=[],
        type=candidate,
        metavar="KIND=MODEL",
        help="to compare with the preset's own, such as git=data://miniature/git",
    )
    command.add_argument("--images", type=positive, default=300, metavar="N", help="real images (default: 300)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def candidate(text: str) -> Candidate:
    """A captioner as the command line names it."""
    kind, separator, model = text.partition("=")
    try:
        captioning = TypeAdapter(AnyCaptioner).validate_python({"kind": kind})
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text}: {first_problem(error, 'the kind')}") from error
    if not separator or not model:
        raise argparse.ArgumentTypeError(f"{text} names no model: write KIND=MODEL")
    return Candidate(captioning, ModelReference(path=model))


def captioners(options: argparse.Namespace) -> int:
    """Measure, and print a table of captioner and respect against sensitivity, with the choice below it."""
    from comat_core.support.precisions import PRECISIONS

    preset = named_preset(options)
    config, train = preset.sections.get("evaluate.sensitivity"), preset.sections.get("train")
    if not isinstance(config, SensitivityConfig) or not isinstance(train, TrainConfig):
        raise UserError(
            "the preset names no real images for the sensitivity",
            options.preset,
            "give it evaluate.sensitivity and models.captioner",
        )
    config = config.model_copy(update={"real": config.real.model_copy(update={"count": options.images})})
    measured = measure_captioners(config, _candidates(train, options.others), PRECISIONS[train.precision])
    choice = choose(measured, config.seed)
    if options.json:
        found = [one.as_json() for one in measured]
        print(json.dumps({"preset": preset.name, "images": options.images, "captioners": found, **choice.as_json()}))
        return 0
    print(f"{options.images} real images ({config.real.source}), {train.precision}")
    _print_table(measured)
    _print_choice(choice)
    return 0


def _candidates(train: TrainConfig, others: Sequence[Candidate]) -> list[Candidate]:
    """The training's own captioner, if it has one, and the others, each once."""
    own = [Candidate(train.captioning, train.captioner)] if train.captioner is not None else []
    named = {one.name: one for one in [*others, *own]}
    return [named[name] for name in dict.fromkeys(one.name for one in [*own, *others])]


def _print_table(measured: Sequence[Measured]) -> None:
    width = max(len(one.candidate.name) for one in measured)
    print(f"{'captioner':{width}}  respect    images  sensitivity             right text preferred")
    for one in measured:
        for name, respect in one.respects.items():
            sensitivity = _shown(respect.sensitivity, 2)
            preference = _shown(respect.preference, 3)
            mark = "  weakest" if respect == one.weakest else ""
            line = f"{one.candidate.name:{width}}  {name:9}  {respect.preference.n:6d}  {sensitivity:22}  {preference}"
            print(line + mark)


def _print_choice(choice: Choice) -> None:
    best, weakest = choice.best, choice.best.weakest
    print(f"Train with {best.candidate.name}: no other's weakest respect is as sure as its own, {weakest.name}.")
    if choice.runner_up is not None and choice.ahead is not None:
        ahead = f"{choice.ahead.mean:+.3f} ({choice.ahead.low:+.3f} to {choice.ahead.high:+.3f})"
        doubt = "" if choice.is_certain else "; on these images that may be chance: ask for more --images"
        where = choice.runner_up.weakest.name
        print(f"Ahead of {choice.runner_up.candidate.name} by {ahead} in {where}{doubt}.")
    for name in choice.blind_to:
        print(f"It is not surely above chance ({CHANCE}) in {name}, and can hardly teach it.")


def _shown(estimate: Estimate, digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"
