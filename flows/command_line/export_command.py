"""`comat export`: a preset's trained model as a LoRA or a pipeline for other tools, and on the hub if wanted."""

import argparse
from pathlib import Path

from stages.models.hub import push_folder
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.tuned.export import export_model
from stages.tuned.tuned_model import find_tuned_model


def export(options: argparse.Namespace) -> int:
    """Write the folder, push it if asked to, and print where it is."""
    tuned = find_tuned_model(load_preset(options.preset, options.settings), Store(options.store))
    output = Path(options.output or f"{tuned.preset}-{options.format}")
    print(export_model(tuned, options.format, output, options.precision))
    if options.push:
        print(push_folder(output, options.push, private=options.private))
    return 0
