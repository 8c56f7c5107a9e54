"""Which benchmarks there are: every module directly in `stages.evaluate` is one, and has a BENCHMARK."""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import stages.evaluate
from stages.evaluate.declared.benchmark import OFFICIAL, Benchmark, Metric
from stages.plan.splits import EACH_OTHER, TEST, images_node

MODULE: Final = "stages.evaluate.{name}"


def benchmarks() -> tuple[Benchmark, ...]:
    """All of them, in their order."""
    return _found_in(tuple(stages.evaluate.__path__))


def in_official_mode() -> tuple[Benchmark, ...]:
    """Those whose protocols have faults to mend, once more: for the scores of their authors' scripts, beside others."""
    return tuple(replace(benchmark, reading=OFFICIAL) for benchmark in benchmarks() if benchmark.has_modes)


def splits() -> tuple[str, ...]:
    """The splits of the prompts that images are drawn of: one per set of prompts, so that none waits for another's."""
    return tuple(dict.fromkeys((TEST, *(benchmark.split for benchmark in benchmarks()))))


def drawn_images(model: str) -> dict[str, str]:
    """Role in the report -> the node that plays it, for the images of all splits by a model."""
    nodes = [images_node(model, split) for split in splits()]
    return {node.replace("images.", "other." if model == EACH_OTHER else ""): node for node in nodes}


def metrics() -> dict[str, Metric]:
    """Name -> metric, of all benchmarks, in their order."""
    return {metric.name: metric for benchmark in benchmarks() for metric in benchmark.metrics}


def measures_sets(name: str) -> bool:
    """Whether a benchmark of that name measures sets of images, so that no single image has a score of its own."""
    return any(benchmark.name == name and not benchmark.of_single_images for benchmark in benchmarks())


@cache
def _found_in(folders: Sequence[str]) -> tuple[Benchmark, ...]:
    names = [module.name for module in pkgutil.iter_modules(folders) if not module.ispkg]
    return tuple(sorted(map(_load, names), key=lambda benchmark: (benchmark.place, benchmark.name)))


def _load(name: str) -> Benchmark:
    benchmark = importlib.import_module(MODULE.format(name=name)).BENCHMARK
    assert isinstance(benchmark, Benchmark), f"{name}.BENCHMARK is not a benchmark"
    assert benchmark.name == name, f"the benchmark {benchmark.name!r} stands in a module of another name"
    return benchmark
