"""The same gain with fewer calls: the presets miniature and miniature-fast, trained with several seeds and compared.

    python -m benchmarks.fast --seeds 3 --store runs

Trains both, unless they stand in the store and in the file of results, draws and judges, and prints a table in
Markdown: the judge's gain (share of images with every object right) and the independent distances, each with the
interval of its evaluation; the rows that the denoiser was given, counted while training ran; and its time. A run that
ended early is made again by the same command. The last line is one JSON object, with the bars that the fast preset is
held against.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from diffusers import UNet2DConditionModel

from benchmarks.network_calls import counted_calls
from comat_core.files.whole_files import write_whole
from comat_core.metrics.crossed_bootstrap import crossed_bootstrap_mean
from comat_core.support.memory.memory_allocator import keep_freed_memory
from stages.evaluate.scoring.comparisons import JOINED, SUMMARY
from stages.plan.pipeline import Plan, PlannedNode, fetch_files, make_plan
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store

WAYS: Final = ("miniature", "miniature-fast")
COUNTED: Final = ("latents", "train")
"""Stages whose calls and time are kept."""
GAIN: Final = "all_right"
DISTANCE_RATIO: Final = "frechet_distance_ratio/"
"""Before the name of an extractor."""
MOST_CALLS, MOST_TIME = 0.40, 0.50
"""The bars, of the default's."""


@dataclass(frozen=True)
class Work:
    """What building an artifact took."""

    calls: int
    rows: int
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Trained:
    """One training, and how it was judged."""

    work: dict[str, Work]
    """By stage."""
    gain: dict[str, float]
    """mean, low and high of the change from the base model."""
    distances: dict[str, dict[str, float]]
    """Extractor that no training has looked at -> the same of the distance over the base model's."""
    items: dict[tuple[str, int], float]
    """(Prompt, sample) -> the judge's score of the tuned model's image."""


def main() -> None:
    arguments = _arguments()
    keep_freed_memory()
    works = _read_works(arguments.results)
    trained: dict[str, dict[int, Trained]] = {way: {} for way in WAYS}
    for seed in range(1, arguments.seeds + 1):
        for way in WAYS:
            settings = [*arguments.set, f"train.seed={seed}"]
            plan = make_plan(load_preset(way, settings).sections)
            trained[way][seed] = measure(plan, Store(arguments.store), works, arguments.results)
            print(f"{way}, seed {seed}: gain {trained[way][seed].gain}", file=sys.stderr, flush=True)
    result = compare(trained)
    print(table(result))
    print(json.dumps(result))


def measure(plan: Plan, store: Store, works: dict[str, Work], results: Path) -> Trained:
    """Train and evaluate as far as the store lacks it.

    Args:
        works: by the key of what was built; what is built here joins them, and the file.
    """
    wanted = plan.wanted(["evaluate.judge", "evaluate.fidelity"])
    fetch_files(plan, wanted, set(), store)
    artifacts: dict[str, Artifact] = {}
    for node in plan.nodes:
        if node.name in wanted:
            inputs = {role: artifacts[source] for role, source in node.inputs.items()}
            artifacts[node.name] = _built(node, inputs, store, works, results)
    judged = artifacts["evaluate.judge"]
    rows = [row for row in judged.read_table(JOINED).to_pylist() if row["model"] == "tuned"]
    fidelity = artifacts["evaluate.fidelity"].read_json(SUMMARY)
    independent = [name for name, facts in fidelity["extractors"].items() if facts["independent"]]
    return Trained(
        work={name: works[artifacts[name].key] for name in COUNTED},
        gain=judged.read_json(SUMMARY)["delta"][GAIN],
        distances={name: fidelity["delta"][f"{DISTANCE_RATIO}{name}"] for name in independent},
        items={(row["prompt_id"], row["sample"]): float(row[GAIN]) for row in rows},
    )


def _built(
    node: PlannedNode, inputs: dict[str, Artifact], store: Store, works: dict[str, Work], results: Path
) -> Artifact:
    """The node's artifact from the store, or built here; of some stages, with what that took."""
    if node.name not in COUNTED or node.key in works:
        return node.stage.run(node.config, inputs, store)
    if store.look_up(node.stage.name, node.key, inputs).artifact is not None:
        what_to_do = "name an empty --store, or the --results that belongs to this one"
        sys.exit(f"{node.name} {node.key} stands in the store, but nobody counted its calls: {what_to_do}")
    store.discard(node.stage.name, node.key)  # a count must not begin in the middle
    start, processor = time.perf_counter(), time.process_time()
    with counted_calls(UNet2DConditionModel) as counted:
        artifact = node.stage.run(node.config, inputs, store)
    works[node.key] = Work(counted.calls, counted.rows, time.perf_counter() - start, time.process_time() - processor)
    content = {key: asdict(work) for key, work in works.items()}
    write_whole(results, (json.dumps(content, indent=2) + "\n").encode())
    return artifact


def _read_works(results: Path) -> dict[str, Work]:
    if not results.exists():
        return {}
    return {key: Work(**work) for key, work in json.loads(results.read_text()).items()}


def compare(trained: dict[str, dict[int, Trained]]) -> dict[str, Any]:
    """All numbers, the ratios of the two ways, and whether the bars are kept."""
    ways = {way: _of_way(list(of_way.values())) for way, of_way in trained.items()}
    default, fast = (ways[way] for way in WAYS)
    difference = _difference_of_gains(*(trained[way] for way in WAYS))
    ratios = {name: fast["train"][name] / default["train"][name] for name in ("rows", "seconds", "processor_seconds")}
    distances = {
        name: statistics.fmean(one["mean"] for one in fast["distances"][name])
        <= statistics.fmean(one["high"] for one in default["distances"][name])
        for name in default["distances"]
    }
    return {
        "seeds": list(trained[WAYS[0]]),
        "ways": ways,
        "fast_over_default": ratios,
        "difference_of_gains": difference,
        "bars": {
            f"at most {MOST_CALLS:g} of the calls": ratios["rows"] <= MOST_CALLS,
            f"at most {MOST_TIME:g} of the time": ratios["seconds"] <= MOST_TIME,
            "no less gain, within the difference's interval": difference["high"] >= 0,
            "distances within the default's intervals": all(distances.values()),
        },
    }


def _of_way(trained: Sequence[Trained]) -> dict[str, Any]:
    """Work by stage, averaged over the seeds; gains and distances seed by seed."""
    work = {
        stage: {
            name: statistics.fmean(asdict(one.work[stage])[name] for one in trained)
            for name in ("calls", "rows", "seconds", "processor_seconds")
        }
        for stage in COUNTED
    }
    distances = {name: [one.distances[name] for one in trained] for name in trained[0].distances}
    return work | {"gains": [one.gain for one in trained], "distances": distances}


def _difference_of_gains(default: dict[int, Trained], fast: dict[int, Trained]) -> dict[str, float]:
    """Fast minus default, with an interval over seeds and prompts: both were judged on the same ones."""
    values, seeds, prompts = [], [], []
    for seed, one in default.items():
        for (prompt, sample), score in one.items.items():
            values.append(fast[seed].items[prompt, sample] - score)
            seeds.append(seed)
            prompts.append(prompt)
    estimate = crossed_bootstrap_mean(values, seeds, prompts, np.random.default_rng(0))
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def table(result: dict[str, Any]) -> str:
    """Lines of Markdown."""
    default, fast = (result["ways"][way] for way in WAYS)
    ratios, change = result["fast_over_default"], result["difference_of_gains"]
    lines = [f"| seeds {', '.join(map(str, result['seeds']))} | {' | '.join(WAYS)} | |", "| --- | --- | --- | --- |"]

    def row(label: str, cells: Sequence[str], remark: str = "") -> None:
        lines.append(f"| {label} | {' | '.join(cells)} | {remark} |")

    gains = [", ".join(_with_interval(gain, "+.3f") for gain in way["gains"]) for way in (default, fast)]
    row("the judge's gain, each seed", gains, f"difference {_with_interval(change, '+.3f')}")
    for name in default["distances"]:
        cells = [", ".join(_with_interval(one, ".2f") for one in way["distances"][name]) for way in (default, fast)]
        row(f"distance over the base model's, {name}", cells)
    labels = {
        "rows": "rows given to the denoiser in training",
        "seconds": "seconds of training",
        "processor_seconds": "seconds of the processor",
    }
    for name, label in labels.items():
        row(label, [f"{way['train'][name]:,.0f}" for way in (default, fast)], f"x {ratios[name]:.2f}")
    row("calls of the denoiser in training", [f"{way['train']['calls']:,.0f}" for way in (default, fast)])
    row("rows, reference latents", [f"{way['latents']['rows']:,.0f}" for way in (default, fast)])
    return "\n".join(lines)


def _with_interval(value: dict[str, float], form: str) -> str:
    return f"{value['mean']:{form}} ({value['low']:{form}} to {value['high']:{form}})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each preset")
    parser.add_argument("--store", default="fast-runs", help="folder or URL (default: fast-runs)")
    parser.add_argument("--results", type=Path, default=Path("fast.json"), help="file of calls and times")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of both presets")
    return parser.parse_args()


if __name__ == "__main__":
    main()
