"""`comat train-node`: this machine's part of a training that several machines share."""

import argparse
import re
from contextlib import nullcontext
from typing import Any

from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset, positive
from flows.command_line.presets_and_stores import named_preset, named_store
from flows.messages import logger, show_messages
from stages.plan.pipeline import fetch_files, make_plan
from stages.plan.runs import recorded_run
from stages.train.stored_inputs import TRAIN, find_stored_inputs

WAIT_SECONDS = 1800


def add_to(parsers: Any) -> None:
    summary = "train a preset's model together with other machines, on each of which the same command runs"
    command = add_command(parsers, "train-node", train_node, summary)
    add_preset(command)
    command.add_argument("--nodes", type=positive, required=True, metavar="N", help="how many machines there are")
    command.add_argument(
        "--rendezvous", type=_endpoint, required=True, metavar="HOST:PORT", help="where they meet: one of them"
    )
    command.add_argument(
        "--node-rank",
        type=_rank,
        metavar="N",
        help="of this machine, from 0, which is HOST: torchrun's static rendezvous; without it, its c10d",
    )
    command.add_argument("--address", metavar="HOST", help="of this machine for the others (default: its host name)")
    command.add_argument(
        "--wait", type=positive, default=WAIT_SECONDS, metavar="SECONDS", help=f"for them (default: {WAIT_SECONDS})"
    )


def train_node(options: argparse.Namespace) -> int:
    """Train, and on the first machine print where the result lies."""
    from stages.train.processes.machines import Meeting, met
    from stages.train.processes.node import run_on_machines

    preset, store, rank = named_preset(options), named_store(options), options.node_rank
    plan = make_plan(preset.sections)
    if rank is not None and rank >= options.nodes:
        raise UserError(f"machine {rank} of {options.nodes} machines", "--node-rank", "count from 0")
    show_messages()
    config, inputs = find_stored_inputs(plan, store, options.preset)
    fetch_files(plan, {TRAIN}, set(), store)
    meeting = Meeting(options.rendezvous, options.nodes, rank, options.address, options.wait)
    logger.info("train-node: waiting for %d machines at %s", options.nodes, options.rendezvous)
    with met(meeting) as machines:
        logger.info("train-node: this is %s", machines.name)
        with recorded_run(store, preset.name, plan, {TRAIN}) if machines.is_first else nullcontext():
            artifact = run_on_machines(config, inputs, store, machines)
    if machines.is_first:
        print(artifact.folder.local or artifact.url)
    return 0


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"[^\s:/]+:\d{1,5}", text) or not 0 < int(text.rpartition(":")[2]) < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no endpoint: write HOST:PORT")
    return text


def _rank(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number from 0")
    return int(text)
