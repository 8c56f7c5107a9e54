"""What the store holds: `comat status`, `comat verify` and `comat gc`."""

import argparse
from collections import Counter
from typing import Any

from flows.command_line.arguments import add_command, add_preset, add_store, positive
from flows.command_line.presets_and_stores import existing_store, named_plan, named_store
from stages.plan.dag import stage_names
from stages.plan.pipeline import PlannedNode, look_up
from stages.plan.runs import collect_garbage, find_garbage
from stages.progress import progress_bar
from stages.store.store import Condition, Store

SHOWN_PROBLEMS = 3  # of one artifact
LONGEST_PROBLEM = 200  # characters


def add_to(parsers: Any) -> None:
    add_preset(add_command(parsers, "status", status, "show what the store holds of each stage"))
    add_store(add_command(parsers, "verify", verify, "compare every file in the store with its checksum"))
    collect = add_command(parsers, "gc", gc, "list artifacts that no kept run refers to")
    add_store(collect)
    collect.add_argument(
        "--keep", type=positive, default=3, metavar="N", help="runs of each preset to keep (default: 3)"
    )
    collect.add_argument("--delete", action="store_true", help="remove them, rather than list them")


def status(options: argparse.Namespace) -> int:
    """Print one line per node: its name, condition, key and path."""
    plan, store = named_plan(options), named_store(options)
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


def verify(options: argparse.Namespace) -> int:
    """Compare every file with its checksum; exit code 1 if one differs."""
    store = existing_store(options)
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


def gc(options: argparse.Namespace) -> int:
    """List the artifacts that no kept run refers to, or remove them."""
    store = existing_store(options)
    garbage = collect_garbage(store, options.keep) if options.delete else find_garbage(store, options.keep)
    for item in garbage:
        print(f"{'removed' if options.delete else 'would remove'}: {item.stage}/{item.key} ({item.size:,} bytes)")
    total = sum(item.size for item in garbage)
    hint = "" if options.delete or not garbage else "; --delete removes them"
    print(f"{len(garbage)} artifacts, {total:,} bytes{hint}")
    return 0


def _first_problems(problems: list[str]) -> list[str]:
    """The first few, each short and printable whatever stands in a file's name, and how many more there are."""
    lines = ["".join(mark if mark.isprintable() else "?" for mark in problem) for problem in problems[:SHOWN_PROBLEMS]]
    shown = [line if len(line) <= LONGEST_PROBLEM else f"{line[:LONGEST_PROBLEM]}…" for line in lines]
    more = len(problems) - len(shown)
    return [*shown, f"and {more:,} more"] if more else shown
