"""Training steps and drawing on a GPU: the published architectures at random weights, at their presets' values.

    python -m benchmarks.gpu                              # call it again until it says that nothing is left
    python -m benchmarks.gpu --parts 'sd15.*'             # one architecture
    python -m benchmarks.gpu --tiny --repetitions 1       # small networks, on a CPU too

Parts, by name (the shell's * and ? stand for any letters):

ARCHITECTURE.step.PRECISION.MODE   a training step: time over its bare model calls, peak memory over the plan
ARCHITECTURE.draw.PRECISION        latents and images per second, beside the stock pipeline's

ARCHITECTURE is sd15, sdxl or sd35, PRECISION fp16 or bf16, MODE eager or compiled. Each part has a process of its own
and is written to the file of results as soon as it is done; one that stands there is not measured again. A call starts
no part once its time is up, and ends the one that runs. The last line is one JSON object: the file's content, and the
parts that are left. docs/gpu.md says what each number means.
"""

import argparse
import json
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.architectures import ARCHITECTURES
from benchmarks.gpu.drawing import measure_drawing
from benchmarks.gpu.machine import describe_machine
from benchmarks.gpu.results import FAILED, Results
from benchmarks.gpu.training import measure_step
from comat_core.support.errors import UserError

PRECISIONS, MODES = ("fp16", "bf16"), ("eager", "compiled")
PARTS = (
    *(f"{one}.step.{precision}.{mode}" for one, precision, mode in product(ARCHITECTURES, PRECISIONS, MODES)),
    *(f"{one}.draw.{precision}" for one, precision in product(ARCHITECTURES, PRECISIONS)),
)


def main() -> None:
    arguments = _arguments()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments)))
        return
    end = time.monotonic() + arguments.time_limit
    settings = {
        "machine": describe_machine(torch.device(arguments.device)),
        "tiny": arguments.tiny,
        "repetitions": arguments.repetitions,
        "backend": arguments.backend,
    }
    try:
        results = Results.open(arguments.results, settings)
    except UserError as error:
        sys.exit(str(error))
    measure_missing(results, arguments, end)
    left = results.missing(arguments.parts, failed_too=False)
    print(f"left: {', '.join(left) or 'nothing'}", file=sys.stderr)
    print(json.dumps(results.as_json() | {"left": left}))


def measure_missing(results: Results, arguments: argparse.Namespace, end: float) -> None:
    """Measure one part after the other until the time is up.

    Args:
        end: by the monotonic clock.
    """
    for number, part in enumerate(results.missing(arguments.parts, failed_too=arguments.retry_failed)):
        remaining = end - time.monotonic()
        if remaining <= 0:
            return
        print(f"{part} ...", file=sys.stderr, flush=True)
        facts = in_a_process(part, remaining)
        if facts is not None:
            results.keep(part, facts)
        elif number == 0:  # it had the whole call, and another would do no better
            results.keep(part, {FAILED: f"took more than {arguments.time_limit:g} s; --time-limit gives it more"})


def in_a_process(part: str, seconds: float) -> dict[str, Any] | None:
    """Measure a part in a process of its own, so that no memory and no compiled code is left of the one before.

    Returns:
        What it gave; None if its time was up.
    """
    command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--measure", part]
    try:
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    if finished.returncode:
        return {FAILED: f"exit code {finished.returncode}"}  # -9 if the CPU's memory ran out
    return json.loads(finished.stdout.splitlines()[-1])


def measure(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a part here and now; one that does not fit says so."""
    architecture, what, precision, *mode = part.split(".")
    device, start = torch.device(arguments.device), time.perf_counter()
    alike: dict[str, Any] = {"tiny": arguments.tiny, "repetitions": arguments.repetitions}
    try:
        if what == "draw":
            facts = measure_drawing(architecture, precision, device, **alike)
        else:
            backend = arguments.backend if mode == ["compiled"] else None
            facts = measure_step(architecture, precision, device, backend=backend, **alike)
    except torch.OutOfMemoryError:
        return {FAILED: "out of memory"}
    return facts | {"seconds_of_part": round(time.perf_counter() - start, 1)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=["*"], help="names or patterns (default: all)")
    parser.add_argument("--results", type=Path, default=Path("gpu.json"), help="file of results (default: gpu.json)")
    parser.add_argument("--time-limit", type=float, default=540.0, help="seconds of this call (default: 540)")
    parser.add_argument("--repetitions", type=int, default=3, help="measured rounds of each timed call")
    parser.add_argument("--backend", default="inductor", help="of torch.compile (default: inductor)")
    parser.add_argument("--retry-failed", action="store_true", help="measure parts that failed once more")
    parser.add_argument("--tiny", action="store_true", help="small networks of the same kinds")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda; with --tiny the CPU if there is none")
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device is None:
        arguments.device = "cpu" if arguments.tiny and not torch.cuda.is_available() else "cuda"
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --tiny measures small networks on the CPU")
    known = [part for part in PARTS if any(fnmatchcase(part, pattern) for pattern in arguments.parts)]
    if not known:
        parser.error(f"no part is named {' or '.join(arguments.parts)}; they are: {', '.join(PARTS)}")
    arguments.parts = known
    return arguments


if __name__ == "__main__":
    main()
