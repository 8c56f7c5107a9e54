"""Time of the entities stage over the time of its parser alone, and how well it finds entities.

    python -m benchmarks.entities --local-dir FOLDER            # the full mixture from downloaded files
    python -m benchmarks.entities --prompts 5000                # template prompts, nothing to download
    python -m benchmarks.entities --memory 1000000              # peak memory of the stage on so many prompts

The last line is one JSON object.
"""

import argparse
import json
import random
import re
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import pyarrow as pa

from comat_core.language.entities import ParserText
from comat_core.language.parsers import load_parser
from data.prompt_sources import read_prompt_set
from data.registry import select_sets
from stages.entities import EntitiesConfig, run
from stages.prompts import PromptsConfig
from stages.prompts import run as run_prompts
from stages.prompts.cleaning import prompt_id
from stages.prompts.mixture import in_batches
from stages.prompts.tables import PROMPTS, PROMPTS_SCHEMA, stream_texts
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.store.streamed_tables import write_streamed_table
from tests.comat_core.entity_scores import f1_score
from tests.comat_core.entity_templates import GoldPrompt, gold_prompts
from tests.comat_core.parsed import PARSER, clip_tokenizer

TWO_OBJECTS = re.compile(r"an? (\w+) (\w+) and an? (\w+) (\w+)")
TRAIN = [f"t2i_compbench/{name}_train" for name in ("color", "shape", "texture", "spatial", "non_spatial", "complex")]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = clip_tokenizer()
        tokenizer.model_max_length = 77
        tokenizer.save_pretrained(folder / "base" / "tokenizer")
        if arguments.memory:
            result = _measure_memory(folder, arguments)
        else:
            result = _measure_time(folder, arguments) | _measure_quality(arguments)
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local-dir", help="folder with the sources' files; without it template prompts are used")
    parser.add_argument("--prompts", type=int, default=5000, help="how many template prompts")
    parser.add_argument("--memory", type=int, help="measure memory on so many synthetic prompts instead of time")
    parser.add_argument("--processes", type=int, default=1, help="of the parser")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args()


def _measure_time(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Run the bare parser and the stage in turn on the same texts with the same batches and processes."""
    prompts = _mixture(folder, arguments)
    config = EntitiesConfig.model_validate({"base": str(folder / "base"), "processes": arguments.processes})
    texts = [prompt.text for prompt in stream_texts(prompts)]
    bare, stage = [], []
    for repetition in range(arguments.repetitions):
        bare.append(_seconds_of_bare_parser(texts, config))
        start = time.perf_counter()
        run(config, {"prompts": prompts}, Store(str(folder / f"store-{repetition}")))
        stage.append(time.perf_counter() - start)
        print(f"repetition {repetition + 1}: parser {bare[-1]:.1f} s, stage {stage[-1]:.1f} s")
    ratios = [with_stage / alone for with_stage, alone in zip(stage, bare, strict=True)]
    return {
        "prompts": len(texts),
        "processes": arguments.processes,
        "repetitions": arguments.repetitions,
        "parser_seconds": round(median(bare), 2),
        "stage_seconds": round(median(stage), 2),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def _seconds_of_bare_parser(texts: list[str], config: EntitiesConfig) -> float:
    """Loading the pipeline and parsing every text, as the stage has to."""
    start = time.perf_counter()
    parser = load_parser(config.parser)
    shown = [ParserText.of(text).shown for text in texts]
    for _ in parser.pipe(shown, batch_size=config.batch_size, n_process=config.processes):
        pass
    return time.perf_counter() - start


def _mixture(folder: Path, arguments: argparse.Namespace) -> Artifact:
    if arguments.local_dir is None:
        return _prompts_of(folder, (prompt.text for prompt in gold_prompts(seed=0, count=arguments.prompts)))
    train = [*({"source": name} for name in TRAIN), {"source": "comat/hrs_collected"}]
    config = PromptsConfig.model_validate(
        {"seed": 0, "train": [*train, {"source": "abc6k/prompts", "count": 5000}], "local_dir": arguments.local_dir}
    )
    return run_prompts(config, {}, Store(str(folder / "store")))


def _measure_quality(arguments: argparse.Namespace) -> dict[str, float]:
    scores = {"f1_templates": round(f1_score(list(gold_prompts(seed=2024, count=1400))), 4)}
    if arguments.local_dir is not None:
        scores["f1_color_val_two_objects"] = round(f1_score(list(_color_val(arguments.local_dir))), 4)
    return scores


def _color_val(local_folder: str) -> Iterator[GoldPrompt]:
    """T2I-CompBench's two-object colour prompts; the gold comes from their form, not from a parse."""
    (source, prompt_set), *_ = select_sets("t2i_compbench/color_val")
    for text, _ in read_prompt_set(source, prompt_set, seed=0, local_folder=local_folder):
        match = TWO_OBJECTS.fullmatch(text)
        if match and match[2] != match[4]:
            gold = {match[2]: frozenset({match[1]}), match[4]: frozenset({match[3]})}
            yield GoldPrompt(text, gold, "color_val")


def _measure_memory(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Peak resident memory of this process, and of its largest worker, after the stage ran on synthetic prompts."""
    prompts = _prompts_of(folder, _synthetic(arguments.memory))
    before = _peak_memory()
    start = time.perf_counter()
    settings = {"base": str(folder / "base"), "parser": PARSER, "processes": arguments.processes}
    config = EntitiesConfig.model_validate(settings)
    run(config, {"prompts": prompts}, Store(str(folder / "store")))
    return {
        "prompts": arguments.memory,
        "repetitions": 1,
        "seconds": round(time.perf_counter() - start, 1),
        "peak_megabytes_of_prompts_table": round(before),
        "peak_megabytes": round(_peak_memory()),
        "peak_megabytes_of_a_worker": round(_peak_memory(resource.RUSAGE_CHILDREN)),
    }


def _synthetic(count: int) -> Iterator[str]:
    """Short prompts in endless variety."""
    generator = random.Random(0)
    for number in range(count):
        colour, animal = generator.choice(("red", "blue", "green")), generator.choice(("cat", "dog"))
        yield f"a {colour} cup, {number} boxes and a {animal}"


def _prompts_of(folder: Path, texts: Iterable[str]) -> Artifact:
    """An artifact as the prompts stage would write it."""
    writer = Store(str(folder / "store")).writer("prompts", "synthetic", {"version": 1, "config": {}}, {})
    rows = (
        {"prompt_id": prompt_id(text), "text": text, "source": "synthetic", "skill": "synthetic", "split": "train"}
        for text in texts
    )
    groups = (pa.Table.from_pylist(group, schema=PROMPTS_SCHEMA) for group in in_batches(rows, 8192))
    write_streamed_table(writer, PROMPTS, PROMPTS_SCHEMA, groups)
    return writer.finish()


def _peak_memory(whose: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(whose).ru_maxrss / 1024


if __name__ == "__main__":
    main()
