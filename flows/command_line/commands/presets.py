"""`comat presets` and `comat show`."""

import argparse
from typing import Any

from flows.command_line.arguments import add_command, add_preset
from flows.command_line.presets_and_stores import named_preset
from stages.plan.presets import as_yaml, load_preset, preset_names


def add_to(parsers: Any) -> None:
    add_command(parsers, "presets", presets, "list the shipped presets")
    add_preset(add_command(parsers, "show", show, "print a preset with all its settings"), with_store=False)


def presets(options: argparse.Namespace) -> int:  # noqa: ARG001  (every command takes its options)
    """Print the shipped presets, one line each."""
    names = preset_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}} {load_preset(name).shared.description}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the complete preset as YAML."""
    print(as_yaml(named_preset(options)), end="")
    return 0
