"""What Prefect and the store cost: the DAG through the flow against the bare stages, and a fully cached run.

    python -m benchmarks.orchestration miniature --set train.steps=20

Runs the bare stages and the flow alternately, each into an empty store, then the flow once more on the store it has
filled. Prints one JSON object last: seconds of both, their ratio, and where the cached run's seconds go.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Measure and print."""
    options = _parse()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options)))
        return
    bare, through_flow, cached = [], [], []
    for _ in range(options.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            bare.append(_run("bare", options, Path(folder) / "bare"))
            through_flow.append(_run("flow", options, Path(folder) / "flow"))
            cached.append(_run("flow", options, Path(folder) / "flow"))
    bare_seconds = statistics.median(run["stages"] for run in bare)
    flow_seconds = statistics.median(run["flow"] for run in through_flow)
    whole_seconds = statistics.median(run["process"] for run in through_flow)
    result = {
        "preset": options.preset,
        "repetitions": options.repetitions,
        "bare_stages_seconds": bare_seconds,
        "flow_seconds": flow_seconds,
        "command_seconds": whole_seconds,
        "flow_over_bare": flow_seconds / bare_seconds,
        "command_over_bare": whole_seconds / bare_seconds,
        "cached_run_seconds": {name: statistics.median(run[name] for run in cached) for name in cached[0]},
    }
    print(json.dumps({name: _rounded(value) for name, value in result.items()}))


def run_bare(options: argparse.Namespace) -> dict[str, float]:
    """Run every stage of the plan one after the other, without Prefect."""
    from stages.plan.pipeline import make_plan
    from stages.plan.presets import load_preset
    from stages.store.artifacts import Artifact
    from stages.store.store import Store

    plan, store = make_plan(load_preset(options.preset, options.settings).sections), Store(options.store)
    started = time.perf_counter()
    made: dict[str, Artifact] = {}
    for node in plan.nodes:
        inputs = {role: made[source] for role, source in node.inputs.items()}
        made[node.name] = node.stage.run(node.config, inputs, store)
    return {"stages": time.perf_counter() - started}


def run_flow(options: argparse.Namespace) -> dict[str, float]:
    """Run the flow as `comat run` does, and say what each part of it took."""
    moments = [time.perf_counter()]

    def lap() -> float:
        moments.append(time.perf_counter())
        return moments[-1] - moments[-2]

    from flows.prefect_start.quiet import quiet_prefect
    from flows.server import prefect_api
    from stages.plan.pipeline import make_plan
    from stages.plan.presets import load_preset

    laps = {"imports": lap()}
    make_plan(load_preset(options.preset, options.settings).sections)
    laps["preset and plan"] = lap()
    quiet_prefect()
    with prefect_api():
        laps["Prefect's import and server"] = lap()
        from flows.comat import comat

        comat(preset=options.preset, store=options.store, settings=options.settings)
        laps["flow"] = lap()
    laps["server's end"] = lap()
    return laps


CHILDREN = {"bare": run_bare, "flow": run_flow}


def _run(child: str, options: argparse.Namespace, store: Path) -> dict[str, float]:
    settings = [argument for setting in options.settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "benchmarks.orchestration", options.preset, *settings]
    started = time.perf_counter()
    finished = subprocess.run(
        [*command, "--child", child, "--store", str(store)], stdout=subprocess.PIPE, text=True, check=True
    )
    laps = json.loads(finished.stdout.splitlines()[-1])
    return {**laps, "process": time.perf_counter() - started}


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("preset", nargs="?", default="miniature")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
