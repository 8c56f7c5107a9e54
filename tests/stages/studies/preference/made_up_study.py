"""A store with images that no model has drawn: their colours say whose each is, and of which prompt."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset, load_preset
from stages.store.store import Store
from stages.studies.preference.building import build_study
from tests.stages.fake_run import flat_png, images_table, make_artifact, prompts_table

HOSTILE = '<script>alert("1")</script> & a red circle'
BLUE = {"base": 40, "tuned": 200}
"""Of a model's images; red is the prompt's number, green 255 in the samples that are not to be shown."""


def made_up_preset() -> Preset:
    return load_preset("miniature")


def fill_store(store: Store, preset: Preset, prompts: int = 12) -> None:
    """Write prompts, and both models' images of the split test in two shards, two samples of each."""
    plan = make_plan(preset.sections)
    rows = [(f"p{number}", f"{HOSTILE} {number}", "color", "test") for number in range(prompts)]
    rows.append(("other", "of another split", "color", "fidelity"))
    prompts_key = plan.by_name["prompts"].key
    make_artifact(store, "prompts", key=prompts_key, tables={"prompts.parquet": prompts_table(rows)})
    half = prompts // 2
    for model in ("base", "tuned"):
        tables: dict[str, pa.Table] = {}
        for shard, numbers in enumerate([range(half), range(half, prompts)]):
            shown = [(f"p{number}", "test", 0, flat_png((number, 0, BLUE[model]))) for number in numbers]
            hidden = [(f"p{number}", "test", 1, flat_png((number, 255, BLUE[model]))) for number in numbers]
            tables[f"images/{shard:05d}.parquet"] = images_table([*shown, *hidden])
        make_artifact(store, "images", key=plan.by_name[f"images.{model}"].key, tables=tables)


def make_study(folder: Path, pairs: int = 6, seed: int = 3) -> Path:
    """Build a study from such a store, in a folder beside it."""
    preset, store = made_up_preset(), Store(str(folder / "store"))
    fill_store(store, preset)
    build_study(preset, "miniature", store, folder / "study", split="test", count=pairs, seed=seed)
    return folder / "study"


def whose(image: bytes) -> tuple[str, int]:
    """The model that an image says it is from, and the number of its prompt."""
    red, green, blue = np.asarray(Image.open(io.BytesIO(image)))[0, 0].tolist()
    assert green == 0, "only the first sample is shown"
    return next(model for model, value in BLUE.items() if value == blue), red
