"""What a run says of image files before it makes anything: hours of work may rest on each of them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from flows.command_line.cli import main
from tests.scaled_down import ARGUMENTS

pytestmark = pytest.mark.usefixtures("prefect_url")

COUNT = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set in COCO's layout whose eighth image is cut short."""
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    names = [f"{number:03}.png" for number in range(COUNT)]
    for name in names:
        Image.new("RGB", (64, 64)).save(root / "images" / name)
    (root / "images" / names[7]).write_bytes((root / "images" / names[7]).read_bytes()[:60])
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "caption": "a red circle"} for number in range(COUNT)],
    }
    (root / "captions.json").write_text(json.dumps(content))
    return root


def run(folder: Path, only: str, settings: Mapping[str, str]) -> int:
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return main(["run", "miniature", "--store", str(folder / "store"), "--only", only, *ARGUMENTS, *given])


def stages_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store").glob("[!.]*")}


def test_an_image_that_cannot_be_read_ends_the_run_before_its_first_stage(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captioned = f"source: coco, folder: {folder}, annotations: captions.json, images: images, count: {COUNT}"
    settings = {
        "pairs": {"pairs": f"{{{captioned}}}"},
        "evaluate.sensitivity": {"evaluate.sensitivity.real": f"{{{captioned}}}"},
        "evaluate.fidelity": {"evaluate.fidelity.real": f"{{folder: {folder / 'images'}, count: {COUNT}}}"},
    }
    for only, changes in settings.items():
        assert run(tmp_path, only, changes) == 2
        told = capsys.readouterr().err
        assert "the image cannot be decoded: " in told, only
        assert "007.png" in told.splitlines()[-1], only
        assert stages_in(tmp_path) == set(), only


def test_an_image_that_a_folder_lacks_ends_the_run_after_the_prompts(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = f"{{mine: {{folder: {folder / 'images'}, splits: [test]}}}}"
    assert run(tmp_path, "evaluate.judge", {"images.others": others}) == 2
    assert "image 1 of the prompt " in capsys.readouterr().err
    assert stages_in(tmp_path) == {"prompts"}
