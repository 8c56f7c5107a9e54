"""Objects of one noun kept apart against removed, as in the paper, on the miniature world.

    python -m benchmarks.same_nouns --store runs --seeds 3

Trains the preset miniature-same-nouns with and without `entities.same_nouns: keep`, each with several seeds, unless the
store has it, and prints a table in Markdown: mean and sample standard deviation over the seeds, and the mean difference
of trainings of the same seed. With --finished it trains nothing and tells of the pairs that the store has.
"""

import argparse
import statistics
from typing import Any, Final

from flows.server import prefect_api
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import load_preset
from stages.store.store import Store

PRESET: Final = "miniature-same-nouns"
WAYS: Final = {"removed, as in the paper": "null", "kept, each with its own object": "keep"}
METRICS: Final = {
    "evaluate.judge": ("object_accuracy", "attribute_accuracy", "all_right", "exact"),
    "evaluate.attributes": ("attribute_binding",),
}

Values = dict[str, dict[int, dict[str, dict[str, float]]]]
"""Way -> seed -> model -> metric -> mean over the images."""


def main() -> None:
    arguments = _arguments()
    runs = [(way, seed) for seed in range(1, arguments.seeds + 1) for way in WAYS]
    settings = {run: [f"entities.same_nouns={WAYS[run[0]]}", f"train.seed={run[1]}"] for run in runs}
    if not arguments.finished:
        with prefect_api():  # one for all: a process keeps to the first that it has spoken to
            for run in runs:
                _run(arguments.preset, arguments.store, settings[run])
    values: Values = {way: {} for way in WAYS}
    for way, seed in runs:
        plan = make_plan(load_preset(arguments.preset, settings[way, seed]).sections)
        found = _read(plan, arguments.store)
        if found is not None:
            values[way][seed] = found
    print(table(values))


def table(values: Values) -> str:
    """Lines of Markdown, of the seeds that all ways have."""
    seeds = sorted(set.intersection(*(set(of_way) for of_way in values.values())))
    if not seeds:
        return "no seed is finished in both ways"
    names = [metric for metrics in METRICS.values() for metric in metrics]
    lines = [
        f"Seeds {', '.join(map(str, seeds))}.",
        "",
        f"|  | {' | '.join(names)} |",
        "| --- |" + " --- |" * len(names),
    ]
    first, second = values
    base = values[first][seeds[0]]["base"]
    lines.append(_row("base model", [f"{base[name]:.3f}" for name in names]))
    for way, of_way in values.items():
        lines.append(_row(way, [_spread([of_way[seed]["tuned"][name] for seed in seeds]) for name in names]))
    differences = [
        [values[second][seed]["tuned"][name] - values[first][seed]["tuned"][name] for seed in seeds] for name in names
    ]
    lines.append(_row("difference", [_spread(of_name, "+.3f") for of_name in differences]))
    return "\n".join(lines)


def _row(label: str, cells: list[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


def _spread(numbers: list[float], form: str = ".3f") -> str:
    mean = format(statistics.fmean(numbers), form)
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.3f}"


def _run(preset: str, store: str, settings: list[str]) -> None:
    from flows.comat import comat

    state: Any = comat(preset=preset, only=list(METRICS), store=store, settings=settings, return_state=True)
    state.result()


def _read(plan: Plan, store: str) -> dict[str, dict[str, float]] | None:
    """Model -> metric -> mean; None if an evaluation is not there."""
    found: dict[str, dict[str, float]] = {"base": {}, "tuned": {}}
    for name, metrics in METRICS.items():
        node = plan.by_name[name]
        artifact = Store(store).look_up(node.stage.name, node.key).artifact
        if artifact is None:
            return None
        models = artifact.read_json("summary.json")["models"]
        for model, means in found.items():
            means.update({metric: models[model][metric]["mean"] for metric in metrics})
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way")
    parser.add_argument("--finished", action="store_true", help="train nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
