"""`comat layers`: which attention layers of a preset's base model say where an object is."""

import argparse
import json
from typing import Any

from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset, positive
from flows.command_line.presets_and_stores import existing_store, named_preset
from stages.attention import AttentionConfig
from stages.attention.words import choose_prompts
from stages.evaluate.declared.registry import splits
from stages.images.finished import find_finished
from stages.plan.pipeline import make_plan
from stages.train.config import TrainConfig


def add_to(parsers: Any) -> None:
    summary = "measure which attention layers of the base model find objects"
    command = add_command(parsers, "layers", layers, summary)
    add_preset(command)
    command.add_argument("--prompts", type=positive, default=64, metavar="N", help="to draw (default: 64)")
    command.add_argument("--split", choices=splits(), help="whose prompts (default: the preset's attention.split)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def layers(options: argparse.Namespace) -> int:
    """Measure, and print a table of layer against overlap."""
    from stages.attention.layers import measure_layers
    from stages.models.devices import choose_device

    preset = named_preset(options)
    config, train = preset.sections.get("attention"), preset.sections.get("train")
    if not isinstance(config, AttentionConfig) or not isinstance(train, TrainConfig) or train.segmenter is None:
        problem = "the preset names no sampling of attention, or no segmenter to compare it with"
        raise UserError(problem, options.preset, "give it `attention: {}` and models.segmenter")
    plan, store = make_plan(preset.sections), existing_store(options)
    inputs = {name: find_finished(plan, name, store, options.preset) for name in ("prompts", "entities")}
    prompts = choose_prompts(inputs, options.split or config.split, options.prompts, config.seed)
    segmenter = train.segmentation.load(train.segmenter, device=choose_device(config.device))
    found = measure_layers(config, config.vae, segmenter, prompts)
    if options.json:
        print(json.dumps({"preset": preset.name, "layers": [overlap.as_json() for overlap in found]}))
        return 0
    width = max(len(overlap.layer) for overlap in found)
    print(f"{found[0].objects} objects, found in the images of {len(prompts)} prompts")
    print(f"{'layer':{width}}  side  average precision  chance")
    for overlap in found:
        mark = "  used for attribute concentration" if overlap.chosen else ""
        numbers = f"{overlap.side:4d}  {overlap.average_precision:17.3f}  {overlap.chance:6.3f}"
        print(f"{overlap.layer:{width}}  {numbers}{mark}")
    return 0
