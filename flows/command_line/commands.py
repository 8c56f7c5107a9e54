"""What each command does. Prefect is imported by `run` alone: the others only read the store."""

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from comat_core.support.errors import UserError
from flows.messages import show_messages
from flows.server import prefect_api
from stages.plan.dag import stage_names
from stages.plan.pipeline import Plan, PlannedNode, look_up, make_plan
from stages.plan.presets import Preset, as_yaml, load_preset, preset_names
from stages.plan.runs import collect_garbage, find_garbage
from stages.progress import progress_bar
from stages.store.local_disk import check_folder
from stages.store.store import Condition, Store

SHOWN_PROBLEMS = 3  # of one artifact
LONGEST_PROBLEM = 200  # characters
QUIET_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}


def run(options: argparse.Namespace) -> int:
    """Run the flow in this process."""
    plan, store = _plan(options), _store(options)
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


def quiet_prefect() -> None:
    """Silence Prefect, unless the environment says otherwise. Call it before Prefect is imported."""
    for name, value in QUIET_PREFECT.items():
        os.environ.setdefault(name, value)


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


def status(options: argparse.Namespace) -> int:
    """Print one line per node: its name, condition, key and path."""
    plan, store = _plan(options), _store(options)
    store.exists()
    findings = look_up(plan, store)
    width = max(len(node.name) for node in plan.nodes)
    for node in plan.nodes:
        finding = findings[node.name]
        place = "" if finding.condition is Condition.BLOCKED else _place(store, node)
        print(f"{node.name:<{width}} {finding.condition:<9} {place}".rstrip())
        for problem in _first_problems(finding.problems):
            print(f"{'':<{width}} {problem}")
    return 0


def _place(store: Store, node: PlannedNode) -> str:
    folder = store.folder(node.stage.name, node.key)
    return f"{node.key}  {folder.local or folder.url}"


def presets(options: argparse.Namespace) -> int:  # noqa: ARG001  (every command takes its options)
    """Print the shipped presets, one line each."""
    names = preset_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}} {load_preset(name).shared.description}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the complete preset as YAML."""
    print(as_yaml(_preset(options)), end="")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Compare every file with its checksum; exit code 1 if one differs."""
    store = _existing_store(options)
    count: Counter[Condition] = Counter()
    for stage, key in progress_bar(list(store.entries(stage_names())), "Verifying"):
        finding = store.look_up(stage, key, check_digests=True)
        count[finding.condition] += 1
        if finding.condition is Condition.DAMAGED:
            print(f"damaged: {stage}/{key}: {'; '.join(_first_problems(finding.problems))}")
        elif finding.condition is Condition.MISSING:
            print(f"unfinished: {stage}/{key}")
    intact, damaged, unfinished = count[Condition.CACHED], count[Condition.DAMAGED], count[Condition.MISSING]
    print(f"{intact} artifacts intact, {damaged} damaged, {unfinished} unfinished")
    return 1 if damaged else 0


def _first_problems(problems: list[str]) -> list[str]:
    """The first few, each short and printable whatever stands in a file's name, and how many more there are."""
    lines = ["".join(mark if mark.isprintable() else "?" for mark in problem) for problem in problems[:SHOWN_PROBLEMS]]
    shown = [line if len(line) <= LONGEST_PROBLEM else f"{line[:LONGEST_PROBLEM]}…" for line in lines]
    more = len(problems) - len(shown)
    return [*shown, f"and {more:,} more"] if more else shown


def gc(options: argparse.Namespace) -> int:
    """List the artifacts that no kept run refers to, or remove them."""
    store = _existing_store(options)
    garbage = collect_garbage(store, options.keep) if options.delete else find_garbage(store, options.keep)
    for item in garbage:
        print(f"{'removed' if options.delete else 'would remove'}: {item.stage}/{item.key} ({item.size:,} bytes)")
    total = sum(item.size for item in garbage)
    hint = "" if options.delete or not garbage else "; --delete removes them"
    print(f"{len(garbage)} artifacts, {total:,} bytes{hint}")
    return 0


def miniature(options: argparse.Namespace) -> int:
    """Rebuild the miniature world's models."""
    from data.miniature_world.build import build

    target = Path(options.target)
    check_folder("models", target, "choose another --target")
    build(target, options.models, Path(options.state) if options.state else None)
    return 0


def _preset(options: argparse.Namespace) -> Preset:
    return load_preset(options.preset, options.settings)


def _plan(options: argparse.Namespace) -> Plan:
    return make_plan(_preset(options).sections)


def _store(options: argparse.Namespace) -> Store:
    if not options.store.strip():
        raise UserError("the store's URL is empty", "--store", "give a folder or a URL")
    return Store(options.store)


def _existing_store(options: argparse.Namespace) -> Store:
    store = _store(options)
    if not store.exists():
        raise UserError("there is no store", options.store, "correct --store, or COMAT_STORE")
    return store
