"""`comat images`: the files it writes, as T2I-CompBench's scripts and our own folders read them."""

from pathlib import Path

import pytest

from flows.command_line.cli import main
from stages.images.image_folders import read_folder
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store.store import Store
from tests.flows.test_bad_input import fails_with
from tests.stages.fake_run import flat_png, images_table, make_artifact, prompts_table

PROMPTS = [
    ("p0", "a red circle", "colour", "test"),
    ("p1", "a star above a heart", "spatial", "test"),
    ("p2", "a red circle", "colour", "test"),
    ("f0", "a circle and/or a star", "fidelity", "fidelity"),
]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with the miniature's prompts and tuned images, made up."""
    url = str(tmp_path / "store")
    plan = make_plan(load_preset("miniature").sections)
    keys = {node.name: node.key for node in plan.nodes}
    place = Store(url)
    make_artifact(place, "prompts", key=keys["prompts"], tables={"prompts.parquet": prompts_table(PROMPTS)})
    for split, node in (("test", "images.tuned"), ("fidelity", "images.tuned.fidelity")):
        ids = [prompt_id for prompt_id, _, _, of_prompt in PROMPTS if of_prompt == split]
        rows = [(key, split, sample, flat_png((ids.index(key), sample, 0))) for key in ids for sample in range(2)]
        parts = {"images/00000.parquet": images_table(rows[:3]), "images/00001.parquet": images_table(rows[3:])}
        make_artifact(place, "images", key=keys[node], tables=parts)
    return url


def names(folder: Path) -> list[str]:
    return sorted((path.name for path in folder.iterdir()), key=lambda name: name.split("_")[1])


def test_files_are_numbered_over_the_whole_set(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["images", "miniature", "--store", store, "--output", str(folder)]) == 0
    assert capsys.readouterr().out == f"6 images in {folder}\n"
    texts = [text for _, text, _, split in PROMPTS if split == "test" for _ in range(2)]
    assert names(folder) == [f"{text}_{number:06d}.png" for number, text in enumerate(texts)]
    assert [name.split("_")[0] for name in names(folder)] == texts, "the official scripts read the prompt so"
    found = read_folder(folder, [{"text": text} for text in texts])
    drawn = [flat_png((prompt, sample, 0)) for prompt in range(3) for sample in range(2)]
    assert [path.read_bytes() for path in found] == drawn


def test_one_skill_is_a_set_of_its_own(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert main(["images", "miniature", "--store", store, "--output", str(folder), "--skill", "spatial"]) == 0
    assert names(folder) == ["a star above a heart_000000.png", "a star above a heart_000001.png"]


def test_prompts_that_no_file_can_be_named_after_are_written_with_a_list(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = ["--output", str(folder), "--split", "fidelity", "--manifest"]
    assert main(["images", "miniature", "--store", store, *arguments]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "000001.png", "manifest.csv"]
    found = read_folder(folder, [{"text": "a circle and/or a star"}] * 2)
    assert [path.read_bytes() for path in found] == [flat_png((0, sample, 0)) for sample in range(2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "fidelity"], "'/' in a prompt cannot be part of a file's name (a circle and/or a star)"),
        (["--model", "base"], "the store holds no finished images.base artifact of this preset"),
        (["--model", "nobody"], "the preset draws no images.nobody"),
        (["--split", "tifa"], "the preset draws no images.tuned.tifa"),
        (["--skill", "texture"], "no prompt is of the skill 'texture' (--skill): choose from colour, spatial"),
        (["--split", "train"], "invalid choice: 'train'"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    arguments: list[str], message: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--store", store, "--output", str(tmp_path / "out")]
    assert message in fails_with(capsys, "images", "miniature", *output, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_folder_with_something_in_it_is_left_alone(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    line = fails_with(capsys, "images", "miniature", "--store", store, "--output", str(tmp_path / "out"))
    assert "the output exists and is not an empty folder" in line
