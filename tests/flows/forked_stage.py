"""Runs one node of the real DAG in a process that can be killed.

Processes are forked from a server that has imported everything once, so that kills hit the work and not the imports.
What is computed is noted in a log that survives kills: a line per shard, per checkpoint and per stage in one piece.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import diffusers  # noqa: F401  (imported here so that the forked processes have it)
import torch
import transformers  # noqa: F401

import stages.train.loop  # noqa: F401
from comat_core.backbones import loading  # noqa: F401
from stages.plan.pipeline import Plan, PlannedNode, make_plan
from stages.plan.presets import load_preset
from stages.plan.stage import ShardedStage, Stage
from stages.store.store import Store
from stages.train.learning.state import TrainingState


def plan_of(settings: tuple[str, ...]) -> Plan:
    """The miniature preset's plan."""
    return make_plan(load_preset("miniature", settings).sections)


def run_step(settings: tuple[str, ...], name: str, url: str, log: str, at_work: Event) -> None:
    """Run one node from its inputs' artifacts, noting down in `log` what is computed."""
    torch.set_num_threads(1)
    # Everything the stages print is of no interest here.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    plan, store = plan_of(settings), Store(url)
    node = plan.by_name[name]
    inputs = {role: store.artifact(plan.by_name[s].stage.name, plan.by_name[s].key) for role, s in node.inputs.items()}
    stage = _with_log(node, Path(log))
    at_work.set()
    stage.run(node.config, inputs, store)


def _with_log(node: PlannedNode, log: Path) -> Stage | ShardedStage:
    stage: Any = node.stage
    if isinstance(stage, ShardedStage):
        return replace(stage, build_shard=_noting(stage.build_shard, log, lambda arguments: f"shard-{arguments[3]}"))
    if node.name == "train":
        TrainingState.save = _noting(TrainingState.save, log, lambda arguments: f"step-{arguments[0].step}")
        return stage
    return replace(stage, build=_noting(stage.build, log, lambda _: "whole"))


def _noting(function: Callable[..., Any], log: Path, name: Callable[[tuple[Any, ...]], str]) -> Callable[..., Any]:
    def noted(*arguments: Any, **settings: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{name(arguments)}\n")
        return function(*arguments, **settings)

    return noted
