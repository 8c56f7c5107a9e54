"""`comat run`: the flow in this process. Alone among the commands, with `comat ablate`, it imports Prefect."""

import argparse
import json
from typing import Any

from flows.command_line.arguments import add_command, add_preset
from flows.command_line.presets_and_stores import named_plan, named_store
from flows.messages import show_messages
from flows.prefect_start.quiet import quiet_prefect
from flows.server import prefect_api


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "run", run, "run a preset's stages, or some of them")
    add_preset(command)
    command.add_argument(
        "--only", action="append", default=[], metavar="STAGE", help="run this stage and what it lacks"
    )
    command.add_argument(
        "--refresh", action="append", default=[], metavar="STAGE", help="recompute this stage and what depends on it"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object last: stage -> key, path, ...")


def run(options: argparse.Namespace) -> int:
    """Run the flow in this process."""
    plan, store = named_plan(options), named_store(options)
    chosen = [*plan.select(options.only, "--only"), *plan.select(options.refresh, "--refresh")]
    plan.renewed(options.refresh, plan.wanted(options.only))
    store.mark()
    show_messages()
    quiet_prefect()
    with prefect_api():
        outcomes = _run_flow(options)
    if options.json:
        print(json.dumps({name: outcome.model_dump() for name, outcome in outcomes.items()}))
    elif "report" in outcomes:
        print(f"{outcomes['report'].path}/report.html")
    else:
        print("\n".join(outcome.path for name, outcome in outcomes.items() if name in chosen))
    return 0


def _run_flow(options: argparse.Namespace) -> dict[str, Any]:
    from flows.comat import comat

    state = comat(
        preset=options.preset,
        only=options.only,
        refresh=options.refresh,
        store=options.store,
        settings=options.settings,
        return_state=True,
    )
    return state.result()
