"""Peak resident memory of the train stage: how it grows with the number of prompts.

    python -m benchmarks.training_data                                  # 20,000 and 1,000,000 prompts, 5 GB on disk
    python -m benchmarks.training_data --prompts 500 5000 --steps 0     # the reading alone

For each number of prompts, in a process of its own: artifacts are made up in the miniature models' shapes, many
batches are read as training reads them, and the train stage of the preset `miniature` takes a few steps in one process.
The last line is one JSON object, with the ratio of the largest peak to the smallest.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.resident_memory import peak_resident_bytes, resident_bytes
from benchmarks.training_artifacts import made_up_inputs
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.data.dataset import TrainingData, prepared

PRESET = "miniature"
LATENT_SHAPE = (4, 16, 16)
SHARD_SIZE = 512
PROMPTS_PER_PAIR = 10
BATCH_SIZE, PAIR_BATCH_SIZE = 4, 2
MEGABYTE = 2**20


def main() -> None:
    arguments = _arguments()
    if arguments.inputs is not None:
        print(json.dumps(_measure(arguments)))
        return
    results = [_in_own_process(arguments, prompts) for prompts in arguments.prompts]
    peaks = {name: [float(result[name]) for result in results] for name in results[0] if name.endswith("_peak")}
    ratios = {f"{name}_ratio": round(max(values) / min(values), 4) for name, values in peaks.items()}
    print(
        json.dumps({"repetitions": 1, "batches": arguments.batches, "steps": arguments.steps, **ratios, "of": results})
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[20_000, 1_000_000])
    parser.add_argument("--batches", type=int, default=2000, help="that are read")
    parser.add_argument("--steps", type=int, default=3, help="of the train stage; 0 leaves it out")
    parser.add_argument("--folder", help="where the artifacts are made up (default: a temporary folder)")
    parser.add_argument("--inputs", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(arguments: argparse.Namespace, prompts: int) -> dict[str, float]:
    """Make the artifacts up here, and measure elsewhere: what this process has had in memory does not count."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        start = time.perf_counter()
        store = Store(name)
        inputs = made_up_inputs(store, prompts, prompts // PROMPTS_PER_PAIR, LATENT_SHAPE, SHARD_SIZE)
        print(f"{prompts} prompts made up in {time.perf_counter() - start:.0f} s", flush=True)
        file = Path(name) / "inputs.json"
        file.write_text(json.dumps({role: one.model_dump() for role, one in inputs.items()}))
        numbers = ("--batches", str(arguments.batches), "--steps", str(arguments.steps))
        command = [sys.executable, "-m", "benchmarks.training_data", "--inputs", str(file), *numbers]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result = {"prompts": prompts, **json.loads(output.splitlines()[-1])}
    print(json.dumps(result), flush=True)
    return result


def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Megabytes and seconds of this process."""
    file = Path(arguments.inputs)
    inputs = {role: Artifact.model_validate(one) for role, one in json.loads(file.read_text()).items()}
    before, start = resident_bytes(), time.perf_counter()
    reading = peak_resident_bytes(lambda: _read(inputs, file.parent / "data", arguments.batches))
    result = {"megabytes_before": before / MEGABYTE, "reading_peak": reading / MEGABYTE}
    result["reading_seconds"] = time.perf_counter() - start
    if arguments.steps:
        config = load_preset(PRESET).sections["train"]
        assert isinstance(config, TrainConfig)
        changes = {"steps": arguments.steps, "batch_size": BATCH_SIZE, "pair_batch_size": PAIR_BATCH_SIZE}
        tracking = config.tracking.model_copy(update={"folder": str(file.parent / "logs")})
        few = config.model_copy(update={**changes, "device": "cpu", "tracking": tracking})
        stage = peak_resident_bytes(lambda: run(few, inputs, Store(str(file.parent))))
        result["stage_peak"] = stage / MEGABYTE
    return {name: round(value, 1) for name, value in result.items()}


def _read(inputs: dict[str, Artifact], folder: Path, batches: int) -> None:
    with prepared(inputs, folder):
        data = TrainingData(inputs, folder, seed=1)
        for number in range(batches):
            data.batch(number, BATCH_SIZE, PAIR_BATCH_SIZE)


if __name__ == "__main__":
    main()
