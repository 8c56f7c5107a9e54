"""`comat images`: a run's images as files in T2I-CompBench's layout, for its scripts and others that read it."""

import argparse
from pathlib import Path
from typing import Any

from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset
from stages.evaluate.declared.registry import splits
from stages.images.finished import find_finished
from stages.images.image_folders import write_folder
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.plan.splits import TEST, images_node
from stages.prompts.tables import read_prompts
from stages.store.artifacts import Artifact
from stages.store.new_folder import new_folder
from stages.store.store import Store


def add_to(parsers: Any) -> None:
    summary = "write a preset's images as files in T2I-CompBench's layout"
    command = add_command(parsers, "images", images, summary)
    add_preset(command)
    command.add_argument("--output", required=True, metavar="FOLDER", help="a new folder")
    command.add_argument("--split", default=TEST, choices=splits(), help="whose prompts' images (default: test)")
    command.add_argument(
        "--model", default="tuned", metavar="NAME", help="base, tuned or another of the preset (default: tuned)"
    )
    command.add_argument(
        "--skill", action="append", default=[], metavar="SKILL", help="write prompts of this skill only"
    )
    command.add_argument(
        "--manifest", action="store_true", help="number the files, and list their prompts in a manifest.csv"
    )


def images(options: argparse.Namespace) -> int:
    """Write one model's images of a split, and print the folder."""
    plan = make_plan(load_preset(options.preset, options.settings).sections)
    store = Store(options.store)
    node = images_node(options.model, options.split)
    drawn = find_finished(plan, node, store, options.preset)
    prompts = find_finished(plan, "prompts", store, options.preset)
    output = Path(options.output)
    with new_folder(output, "images") as folder:
        texts = _chosen_texts(prompts, options.split, options.skill)
        count = write_folder(folder, drawn, texts, with_manifest=options.manifest)
    print(f"{count} images in {output}")
    return 0


def _chosen_texts(prompts: Artifact, split: str, skills: list[str]) -> dict[str, str]:
    """Prompt id -> text, of the prompts whose images are wanted."""
    rows = read_prompts(prompts, [split])
    known = sorted({row.skill for row in rows})
    for skill in skills:
        if skill not in known:
            raise UserError(f"no prompt is of the skill {skill!r}", "--skill", f"choose from {', '.join(known)}")
    return {row.prompt_id: row.text for row in rows if not skills or row.skill in skills}
