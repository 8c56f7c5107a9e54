"""`comat models`: what a preset needs, what of it is here, and fetching the rest."""

import argparse

from stages.needed_models import NeededModel, fetch_model, needed_models
from stages.presets import load_preset

MEGABYTE = 10**6


def models(options: argparse.Namespace) -> int:
    """Print one block per model; with --download, fetch what is missing first."""
    preset = load_preset(options.preset, options.settings)
    needed = needed_models(preset)
    if options.download:
        for model in needed:
            fetch_model(model)
        needed = needed_models(preset)
    for model in needed:
        print(_describe(model))
    return 0


def _describe(model: NeededModel) -> str:
    size = "size unknown" if model.size is None else f"{model.size / MEGABYTE:,.1f} MB"
    revision = f" @ {model.revision}" if model.revision else ""
    return f"{model.name}{revision}\n    {model.presence}, {size}, {model.licence}; {', '.join(model.roles)}"
