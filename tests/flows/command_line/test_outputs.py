"""Where commands write: checked before their work, whole or not at all, and nothing beside it is touched."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from flows.command_line.cli import main
from flows.command_line.commands import ablate, sample, timeline
from tests.flows.test_bad_input import fails_with

LONG = "я" * 122  # 244 bytes: with the ending of a preset a name that file systems take, with others not


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, beside a store."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `comat sample` draw at once, with the model of a preset of a long name; gives the prompts it has drawn."""
    prompts: list[str] = []

    def draw(_tuned: Any, chosen: list[str], _seed: int, *, compare: bool) -> torch.Tensor:  # noqa: ARG001
        prompts.extend(chosen)
        return torch.zeros(3, 2, 2)

    monkeypatch.setattr(sample, "find_tuned_model", lambda *_: SimpleNamespace(preset=LONG))
    monkeypatch.setattr(sample, "draw_rows", draw)
    return prompts


def sample_words(*arguments: str) -> list[str]:
    return ["sample", "miniature", "--prompt", "a", *arguments]


@pytest.mark.usefixtures("drawn")
def test_a_drawing_touches_no_file_but_its_own(folder: Path) -> None:
    for name in ("mine.partial", "mine", ".mine.partial", "mine.tmp"):
        (folder / name).write_text("precious")
    assert main(sample_words("--output", "mine.png")) == 0
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(folder.iterdir())) == 5
    assert all(path.read_text() == "precious" for path in folder.iterdir() if path.name != "mine.png")


def test_a_presets_name_of_any_length_names_a_drawing(folder: Path, drawn: list[str]) -> None:
    assert main(sample_words("--seed", "1234567890")) == 0
    (path,) = folder.iterdir()
    assert path.name.startswith("яяя") and path.name.endswith("-1234567890.png")
    assert drawn == ["a"]


@pytest.mark.parametrize("output", ["file/below/a.png", f"{LONG}{LONG}.png", "folder.png"])
def test_an_output_that_cannot_be_is_told_before_anything_is_drawn(
    folder: Path, drawn: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    (folder / "folder.png").mkdir()
    assert "choose another --output" in fails_with(capsys, *sample_words("--output", output))
    assert drawn == []


def test_an_ablation_asks_for_its_output_before_it_trains(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setattr(ablate, "prefect_api", lambda: pytest.fail("it began"))
    line = fails_with(capsys, "ablate", "miniature", "--row", "activation", "--output", "file").strip()
    assert line == "comat: cannot write the results: File exists (file): choose another --output"


def test_a_time_line_is_written_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "line.html").write_text("old")
    monkeypatch.setattr(timeline, "read_history", lambda *_: ["a result"])
    monkeypatch.setattr(timeline, "timeline_page", lambda *_: "new \ud800")  # cannot be encoded, half way
    with pytest.raises(UnicodeEncodeError):
        timeline.timeline(
            SimpleNamespace(preset="miniature", settings=[], store="store", output="line.html")  # type: ignore[arg-type]
        )
    assert (folder / "line.html").read_text() == "old"
    monkeypatch.setattr(timeline, "timeline_page", lambda *_: "new")
    assert main(["timeline", "miniature", "--output", "line.html"]) == 0
    assert (folder / "line.html").read_text() == "new"
    capsys.readouterr()
    assert "the output is a folder" in fails_with(capsys, "timeline", "miniature", "--output", ".")


def test_models_of_the_miniature_world_are_not_trained_for_a_folder_that_cannot_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setattr("data.miniature_world.build.build", lambda *_: pytest.fail("it began"))
    line = fails_with(capsys, "miniature", "--target", "file/models").strip()
    assert line == "comat: cannot write the models: Not a directory (file/models): choose another --target"
