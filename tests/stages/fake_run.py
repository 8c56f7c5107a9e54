"""A whole run's artifacts made up for tests: no model has seen them, and every number in them is known."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from stages.store.artifacts import Artifact
from stages.store.store import Store

PROMPT_FIELDS = ("prompt_id", "text", "source", "skill", "split")


def make_artifact(
    store: Store,
    stage: str,
    *,
    key: str | None = None,
    tables: Mapping[str, pa.Table] | None = None,
    documents: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> Artifact:
    """Write an artifact with the given tables, JSON documents and files of a folder (below lora/)."""
    writer = store.writer(stage, key or f"{stage}-key", {"version": 1, "config": dict(config or {})}, {})
    for name, table in (tables or {}).items():
        writer.write_table(name, table)
    for name, document in (documents or {}).items():
        writer.write_json(name, document)
    if folder is not None:
        writer.add_folder(folder, "lora/")
    return writer.finish()


def prompts_table(rows: Sequence[tuple[str, str, str, str]]) -> pa.Table:
    """Make a prompts table from (prompt_id, text, skill, split)."""
    return pa.Table.from_pylist(
        [
            dict(zip(PROMPT_FIELDS, (prompt_id, text, "test", skill, split), strict=True))
            for prompt_id, text, skill, split in rows
        ]
    )


def prompts_tables(rows: Sequence[tuple[str, str, str, str]], seen: Sequence[str] = ()) -> dict[str, pa.Table]:
    """The tables of a prompts artifact; `seen` are ids of evaluation prompts that a training source holds."""
    schema = pa.schema([(name, pa.string()) for name in ("prompt_id", "split", "source", "training_source")])
    found = [{"prompt_id": one, "split": "test", "source": "test", "training_source": "mine"} for one in seen]
    return {
        "prompts.parquet": prompts_table(rows),
        "seen_in_training.parquet": pa.Table.from_pylist(found, schema=schema),
    }


def images_table(rows: Sequence[tuple[str, str, int, bytes]]) -> pa.Table:
    """Make one part of the images from (prompt_id, split, sample, png)."""
    schema = pa.schema(
        [("prompt_id", pa.string()), ("split", pa.string()), ("sample", pa.int64()), ("png", pa.binary())]
    )
    columns = ("prompt_id", "split", "sample", "png")
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=schema)


def flat_png(colour: tuple[int, int, int], side: int = 16) -> bytes:
    """A PNG file of one colour."""
    return png_of(np.full((side, side, 3), colour, dtype=np.uint8))


def png_of(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) bytes as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def summary(benchmark: str, base: Mapping[str, float], tuned: Mapping[str, float], prompts: int) -> dict[str, Any]:
    """A summary whose intervals reach 0.05 to both sides."""

    def around(value: float) -> dict[str, float]:
        return {"mean": value, "low": value - 0.05, "high": value + 0.05}

    models = {"base": base, "tuned": tuned}
    return {
        "benchmark": benchmark,
        "protocol": f"the protocol of {benchmark}",
        "models": {
            model: {name: {**around(value), "n": prompts} for name, value in scores.items()}
            for model, scores in models.items()
        },
        "delta": {name: around(tuned[name] - base[name]) for name in base},
    }


def fidelity_summary(
    ratios: Mapping[str, float], *, width: float = 0.1, remarks: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A summary of fidelity by networks whose base distance is 2, with the tuned model at so many times that.

    Args:
        ratios: extractor -> tuned over base.
        width: of each ratio's interval to both sides.
        remarks: extractor -> why it is not independent.
    """
    base = {f"frechet_distance/{name}": 2.0 for name in ratios}
    tuned = {f"frechet_distance/{name}": 2.0 * ratio for name, ratio in ratios.items()}
    document = summary("fidelity", base, tuned, 600)
    for name, ratio in ratios.items():
        interval = {"mean": ratio, "low": ratio - width, "high": ratio + width}
        document["delta"][f"frechet_distance_ratio/{name}"] = interval
    facts = {
        name: {"features": f"features of {name}", "independent": name not in (remarks or {}), "seen_by": None}
        for name in ratios
    }
    for name, remark in (remarks or {}).items():
        facts[name] |= {"remark": remark}
    real = {f"frechet_distance/{name}": {"mean": 0.125, "low": 0.1, "high": 0.15, "n": 600} for name in ratios}
    return document | {
        "headline": f"frechet_distance/{next(iter(ratios))}",
        "extractors": facts,
        "real_to_real": real,
    }


def metrics_table(steps: int = 40) -> pa.Table:
    """Training metrics: a falling loss, and a column with gaps and a value that is not finite."""
    gaps = [None if step % 2 else 1.0 + step for step in range(steps)]
    gaps[0] = math.inf
    return pa.table(
        {
            "step": list(range(1, steps + 1)),
            "total": [2.0 * 0.95**step for step in range(steps)],
            "concentration_positive": pa.array(gaps, pa.float64()),
        }
    )
