"""What Prefect's UI shows of a run."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from flows import publishing
from flows.execution import Outcome
from flows.publishing import image_grid, publish, score_rows
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.stages.fake_run import (
    fidelity_summary,
    flat_png,
    images_table,
    make_artifact,
    prompts_table,
    summary,
)

HOSTILE = "a red | circle\n![](https://evil.example/x.png) <script>"


def make_images(store: Store, key: str, colour: tuple[int, int, int]) -> Artifact:
    tables = {
        "images/00000.parquet": images_table([("f0", "fidelity", 0, flat_png(colour))]),
        "images/00001.parquet": images_table(
            [
                ("f1", "fidelity", 0, flat_png(colour)),
                ("t0", "test", 0, flat_png(colour, side=300)),
                ("t0", "test", 1, flat_png((0, 0, 0))),
            ]
        ),
    }
    return make_artifact(store, "images", key=key, tables=tables)


def test_scores_have_one_row_per_metric_and_model(tmp_path: Path) -> None:
    document = summary("attributes", {"binding": 0.5}, {"binding": 0.75}, prompts=20)
    artifact = make_artifact(Store(str(tmp_path)), "evaluate.attributes", documents={"summary.json": document})
    assert score_rows([artifact]) == [
        {
            "benchmark": "attributes",
            "metric": "binding",
            "model": model,
            "mean": mean,
            "interval": interval,
            "n": "20",
        }
        for model, mean, interval in (("base", "0.5000", "0.4500 to 0.5500"), ("tuned", "0.7500", "0.7000 to 0.8000"))
    ]


def test_distances_stand_with_the_real_images_own_and_with_their_ratio(tmp_path: Path) -> None:
    document = fidelity_summary({"dino": 1.5})
    artifact = make_artifact(Store(str(tmp_path)), "evaluate.fidelity", documents={"summary.json": document})
    rows = [(row["model"], row["metric"], row["mean"], row["n"]) for row in score_rows([artifact])]
    assert rows == [
        ("base", "frechet_distance/dino", "2.0000", "600"),
        ("tuned", "frechet_distance/dino", "3.0000", "600"),
        ("real", "frechet_distance/dino", "0.1250", "600"),
        ("tuned over base", "frechet_distance_ratio/dino", "1.5000", ""),
    ]


def test_a_model_that_is_called_real_keeps_its_scores(tmp_path: Path) -> None:
    document = summary("sensitivity", {"sensitivity": 0.5}, {"sensitivity": 0.75}, prompts=20)
    document["models"]["real"] = document["models"]["base"]
    artifact = make_artifact(Store(str(tmp_path)), "evaluate.sensitivity", documents={"summary.json": document})
    assert [row["model"] for row in score_rows([artifact])] == ["base", "tuned", "real"]


def test_grid_shows_both_models_pictures_of_held_out_prompts_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = [("t0", HOSTILE, "color", "test"), ("f0", "x", "color", "fidelity")]
    prompts = make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(rows)})
    grid = image_grid(prompts, make_images(store, "base", (250, 0, 0)), make_images(store, "tuned", (0, 0, 250)))
    lines = grid.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(
        r"| a red \| circle !\[\](https\://evil.example/x.png) \<script\> | ![](data:image/jpeg;"
    )
    assert grid.count("![](") == 2
    _, *cells, _ = lines[2].replace(r"\|", "").split("|")[1:]
    for cell, channel in zip(cells, (0, 2), strict=True):
        content = base64.b64decode(cell.split("base64,")[1].split(")")[0])
        picture = Image.open(io.BytesIO(content))
        assert max(picture.size) == 128
        pixel = picture.getpixel((64, 64))
        assert isinstance(pixel, tuple)
        assert pixel[channel] > 200


def test_summaries_of_prompts_and_entities_are_shown_as_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}

    def show(content: str, key: str, **_: str) -> None:
        shown[key] = content

    for kind in ("table", "markdown"):
        monkeypatch.setattr(publishing, f"create_{kind}_artifact", show)
    store = Store(str(tmp_path))
    outcomes = {}
    for stage in ("prompts", "entities", "pairs"):
        writer = store.writer(stage, "key", {"version": 1, "config": {}}, {})
        writer.write_bytes("summary.md", f"| {stage} |\n\nMost frequent nouns: <img src=x>.\n".encode())
        artifact = writer.finish()
        outcomes[stage] = Outcome(key="key", path=artifact.url, cached=False, seconds=1.0, artifact=artifact)
    publish("my <preset>", outcomes)
    del shown["comat-nodes"]
    nouns = "Most frequent nouns: \\<img src=x\\>."
    assert shown == {f"comat-{stage}": f"| {stage} |\n\n{nouns}" for stage in ("prompts", "entities")}
