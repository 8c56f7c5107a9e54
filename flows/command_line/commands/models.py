"""`comat models`: what a preset needs, what of it is here, and fetching the rest."""

import argparse
from typing import Any

from flows.command_line.arguments import add_command, add_preset
from stages.models.needed_models import NeededModel, fetch_model, needed_models
from stages.plan.presets import load_preset
from stages.studies.ablation.settings import PAPER, load_ablation
from stages.studies.ablation.variants import presets_of_rows

MEGABYTE = 10**6


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "models", models, "list the models that a preset needs, or fetch them")
    add_preset(command, with_store=False)
    command.add_argument("--download", action="store_true", help="fetch what the caches lack, then list")
    told = "list what `comat ablate` needs as well (default: for the paper's)"
    command.add_argument("--ablation", nargs="?", const=PAPER, metavar="NAME", help=told)


def models(options: argparse.Namespace) -> int:
    """Print one block per model; with --download, fetch what is missing first."""
    presets = [load_preset(options.preset, options.settings)]
    if options.ablation:
        presets += presets_of_rows(load_ablation(options.ablation), options.preset, options.settings)
    needed = needed_models(presets)
    if options.download:
        for model in needed:
            fetch_model(model)
        needed = needed_models(presets)
    for model in needed:
        print(_describe(model))
    return 0


def _describe(model: NeededModel) -> str:
    size = "size unknown" if model.size is None else f"{model.size / MEGABYTE:,.1f} MB"
    revision = f" @ {model.revision}" if model.revision else ""
    return f"{model.name}{revision}\n    {model.presence}, {size}, {model.licence}; {', '.join(model.roles)}"
