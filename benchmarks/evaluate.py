"""Time of the stages of attribute binding over the time of the bare calls of their answering model.

    python -m benchmarks.evaluate --prompts 100 --repetitions 3

The stages read images and prompts, parse, decode, ask, score, compare and write; the bare calls get decoded images and
the same questions in the same batches. Both run in turn, with their models loaded by a first, untimed repetition. The
last line is one JSON object: beside the seconds that passed it holds the processor's, which a busy machine changes
less.

The miniature answering model takes less than a millisecond per question; the larger the model, the smaller the ratio.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from comat_core.language.parsers import load_parser
from comat_core.metrics.attribute_binding import noun_phrases, question_about
from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer
from data.miniature_world.datasets import make_scenes
from data.miniature_world.prompts import held_out_prompts
from stages.evaluate.attributes import SCORES, STAGE, AttributesConfig
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.store import Store
from tests.stages.fake_run import images_table, make_artifact, png_of, prompts_tables

SEED = 1
VQA = ModelReference(path="data://miniature/vqa")


def main() -> None:
    arguments = _arguments()
    prompts = held_out_prompts(SEED, arguments.prompts)
    samples = arguments.samples
    _, pixels = make_scenes("balanced", SEED, 2 * samples * len(prompts), processes=1)
    config = AttributesConfig(vqa=VQA, seed=SEED, device="cpu", batch_size=arguments.batch_size)
    answerer = VisualQuestionAnswerer.load(VQA.resolve(), protocol=CORRECTED)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    asked = _questions([text for text, _ in prompts], config.parser, samples)
    bare, stage = [], []
    for repetition in range(arguments.repetitions + 1):
        bare.append(_time_of_bare_calls(answerer, images, asked, arguments.batch_size))
        with tempfile.TemporaryDirectory() as folder:
            store = Store(str(Path(folder) / "store"))
            inputs = _artifacts(store, prompts, pixels, samples)
            start = _clocks()
            _evaluate(config, inputs, store)
            stage.append(_clocks() - start)
        print(f"repetition {repetition}: bare calls {bare[-1][0]:.2f} s, stage {stage[-1][0]:.2f} s")
    bare_times, stage_times = np.array(bare[1:]), np.array(stage[1:])
    ratios = stage_times / bare_times
    result = {
        "images": len(images),
        "questions": len(asked),
        "seconds_bare": median(bare_times[:, 0]),
        "seconds_stage": median(stage_times[:, 0]),
        "seconds_stage_with_loading": float(stage[0][0]),
        "ratio": median(ratios[:, 0]),
        "ratios": ratios[:, 0].tolist(),
        "processor_ratio": median(ratios[:, 1]),
        "processor_ratios": ratios[:, 1].tolist(),
        "repetitions": arguments.repetitions,
    }
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40, help="each with the images of two models")
    parser.add_argument("--samples", type=int, default=10, help="images of each prompt; T2I-CompBench draws 10")
    parser.add_argument("--batch-size", type=int, default=64, help="questions per call")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args()


def _questions(texts: list[str], parser: str, samples: int) -> list[tuple[int, str]]:
    """(image, question) pairs in the order in which the stage asks: both models' images, prompt by prompt."""
    docs = list(load_parser(parser).pipe(texts))
    by_prompt = [[question_about(phrase) for phrase in noun_phrases(doc)] for doc in docs]
    owners = [prompt for _ in range(2) for prompt in range(len(texts)) for _ in range(samples)]
    return [(image, question) for image, prompt in enumerate(owners) for question in by_prompt[prompt]]


def _clocks() -> np.ndarray:
    """Seconds that passed, and seconds of the processor, (2,)."""
    return np.array([time.perf_counter(), time.process_time()])


def _time_of_bare_calls(
    answerer: VisualQuestionAnswerer, images: torch.Tensor, asked: list[tuple[int, str]], batch_size: int
) -> np.ndarray:
    start = _clocks()
    for first in range(0, len(asked), batch_size):
        batch = asked[first : first + batch_size]
        rows = sorted({row for row, _ in batch})
        answerer.probability_of_yes(images[rows], [text for _, text in batch], [rows.index(row) for row, _ in batch])
    return _clocks() - start


def _evaluate(config: AttributesConfig, inputs: Inputs, store: Store) -> None:
    prompts = inputs["prompts"]
    scores = {
        model: SCORES.run(config, {"prompts": prompts, "images": inputs[model]}, store) for model in ("base", "tuned")
    }
    STAGE.run(config, {"prompts": prompts, **scores}, store)


def _artifacts(store: Store, prompts: list[tuple[str, str]], pixels: np.ndarray, samples: int) -> Inputs:
    ids = [f"p{index:05d}" for index in range(len(prompts))]
    rows = [(one, text, skill, "test") for one, (text, skill) in zip(ids, prompts, strict=True)]
    owners = [(one, sample) for one in ids for sample in range(samples)]
    halves = {"base": pixels[: len(owners)], "tuned": pixels[len(owners) :]}
    tables = {
        model: images_table(
            [(one, "test", sample, png_of(image)) for (one, sample), image in zip(owners, half, strict=True)]
        )
        for model, half in halves.items()
    }
    return {
        "prompts": make_artifact(store, "prompts", tables=prompts_tables(rows)),
        **{
            model: make_artifact(store, "images", key=model, tables={"images/00000.parquet": table})
            for model, table in tables.items()
        },
    }


if __name__ == "__main__":
    main()
