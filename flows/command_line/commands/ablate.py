"""`comat ablate`: the paper's ablations, or others, as runs of the flow over one store, and their tables."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from flows.command_line.arguments import add_command, add_preset, positive
from flows.messages import show_messages
from flows.prefect_start.quiet import quiet_prefect
from flows.server import prefect_api
from stages.plan.presets import load_preset
from stages.store.file_names import fitting_name
from stages.store.local_disk import OUTPUT_ADVICE, check_folder
from stages.store.store import Store
from stages.studies.ablation.results import gather
from stages.studies.ablation.settings import PAPER, load_ablation
from stages.studies.ablation.variants import Variant, distinct_runs, list_variants
from stages.studies.ablation.writing import MARKDOWN, NUMBERS, PAGE, write_results

logger = logging.getLogger("comat")

RUN_MESSAGE = "%s (run %d of %d)"
FILES = (MARKDOWN, NUMBERS, PAGE)

Summaries = dict[tuple[str, ...], dict[str, Any]]
"""Identity of a run -> summary.json of each of its evaluations, by node."""


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "ablate", ablate, "train a preset in several ways, and compare them")
    add_preset(command)
    command.add_argument("--table", action="append", default=[], metavar="TABLE", help="fidelity, parts or captioner")
    told = "paper (the default), rewards, or a YAML file of tables and rows"
    command.add_argument("--ablation", default=PAPER, metavar="NAME", help=told)
    command.add_argument("--row", action="append", default=[], metavar="NAME", help="train this row of the tables")
    command.add_argument("--seeds", type=positive, default=3, metavar="N", help="trainings of each row (default: 3)")
    command.add_argument("--output", metavar="FOLDER", help="of the tables (default: PRESET-ablation)")
    command.add_argument("--json", action="store_true", help="print one JSON object last: every number")


def ablate(options: argparse.Namespace) -> int:
    """Train and score every row with every seed, unless the store has it, and write the tables."""
    name = load_preset(options.preset, options.settings).name
    ablation = load_ablation(options.ablation).select(options.table, options.row)
    variants = list_variants(ablation, options.preset, options.settings, options.seeds)
    folder = Path(options.output or fitting_name(name, "-ablation"))
    check_folder("results", folder, OUTPUT_ADVICE)
    Store(options.store).mark()
    show_messages()
    quiet_prefect()
    with prefect_api():
        summaries = run_variants(variants, name, options.store)
    found = [summaries[variant.identity] for variant in variants]
    results = gather(ablation, name, options.settings, variants, found)
    write_results(results, folder)
    print(json.dumps(results.as_json()) if options.json else "\n".join(str(folder / file) for file in FILES))
    return 0


def run_variants(variants: list[Variant], name: str, store: str) -> Summaries:
    """Run the flow once per distinct variant, in order. What an earlier call has finished is taken from the store.

    Args:
        name: of the preset, for the flow runs' names.
        store: its URL.
    """
    from flows.comat import comat

    summaries: Summaries = {}
    runs = distinct_runs(variants)
    for number, variant in enumerate(runs, start=1):
        title = f"{name} ablation: {variant.row.name}, seed {variant.seed}"
        logger.info(RUN_MESSAGE, title, number, len(runs))
        state: Any = comat.with_options(flow_run_name=title)(
            preset=variant.preset,
            only=list(variant.evaluations),
            store=store,
            settings=list(variant.settings),
            recorded_as=title,
            return_state=True,
        )
        outcomes = state.result()
        found = {node: outcomes[node].artifact.read_json("summary.json") for node in variant.evaluations}
        summaries[variant.identity] = found
    return summaries
