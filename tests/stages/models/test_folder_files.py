"""Folders whose parts are links to folders elsewhere."""

import os
from pathlib import Path

import pytest
from PIL import Image

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.real_images import RealImages, real_image_files
from stages.images.image_folders import read_folder
from stages.models import folder_files
from stages.models.folder_files import files_below
from stages.plan.config import ModelReference


def write(file: Path, content: str = "weights") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in files_below(folder))


def linked_model(folder: Path, unet: Path) -> ModelReference:
    write(folder / "model_index.json", "{}")
    (folder / "unet").symlink_to(unet)
    return ModelReference(path=str(folder))


def test_two_models_whose_linked_parts_differ_have_two_identities(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "unet" / "weights.safetensors", name)
    models = [linked_model(tmp_path / f"of {name}", tmp_path / name / "unet") for name in ("one", "two")]
    assert models[0].identity() != models[1].identity()


def test_a_folder_with_links_is_the_same_model_as_its_copy_without(tmp_path: Path) -> None:
    write(tmp_path / "one" / "unet" / "weights.safetensors")
    linked = linked_model(tmp_path / "linked", tmp_path / "one" / "unet")
    write(tmp_path / "copy" / "model_index.json", "{}")
    write(tmp_path / "copy" / "unet" / "weights.safetensors")
    assert linked.identity() == ModelReference(path=str(tmp_path / "copy")).identity()


def test_a_link_that_is_turned_to_another_folder_is_another_model(tmp_path: Path) -> None:
    for name in ("one", "two"):
        os.utime(write(tmp_path / name / "weights.safetensors", name), ns=(1, 1))
    model = linked_model(tmp_path / "linked", tmp_path / "one")
    before = model.identity()
    (tmp_path / "linked" / "unet").unlink()
    (tmp_path / "linked" / "unet").symlink_to(tmp_path / "two")
    assert model.identity() != before


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder / "unet" / "weights")
    write(tmp_path / "elsewhere" / "weights")
    (folder / "itself").symlink_to(folder)
    (folder / "unet" / "up").symlink_to(folder / "unet")
    (folder / "unet" / "above").symlink_to(tmp_path)
    (folder / "unet" / "all").symlink_to("/")
    (folder / "away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder / "unet")
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    (folder / "round").symlink_to(folder / "round")
    assert names(folder) == ["away/back/weights", "away/weights", "unet/weights"]


def test_hidden_files_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "weights")
    write(tmp_path / ".git" / "config")
    write(tmp_path / ".DS_Store")
    os.mkfifo(tmp_path / "pipe")
    assert names(tmp_path) == ["weights"]


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_files, "MOST_FOLDERS", 1000)
    folders = [tmp_path / "model" / f"{number}" for number in range(8)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders:
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    with pytest.raises(UserError, match="there are more than 1,000 folders inside"):
        list(files_below(tmp_path / "model"))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(folder: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(UserError, match=r"a folder cannot be read: Permission denied \(.*\): check its permissions"):
        list(files_below(tmp_path))


def test_images_behind_links_are_read(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8)).save(kept / f"a red cat_{number:06d}.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "colour").symlink_to(kept)
    found = read_folder(tmp_path / "set", [{"text": "a red cat"}, {"text": "a red cat"}])
    assert [path.name for path in found] == ["a red cat_000000.png", "a red cat_000001.png"]
    source = RealImages(folder=ModelReference(path=str(tmp_path / "set")), count=2)
    assert len(real_image_files(source)) == 2
