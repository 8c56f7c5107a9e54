"""Configs: what belongs to an artifact's key and what does not."""

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from comat_core.support.errors import UserError
from stages.plan.config import NOT_IN_KEY, ModelReference, NotInKeyIf, StageConfig


class Part(BaseModel):
    rate: float = 0.5
    every: Annotated[int, NOT_IN_KEY, Field(ge=1)] = 10


class ExampleConfig(StageConfig):
    steps: Annotated[int, Field(ge=1, description="steps")] = 3
    batch_size: Annotated[int, NOT_IN_KEY] = Field(default=8, ge=1, description="images at a time")
    part: Part = Part()
    splits: dict[str, int] = Field(default={"test": 2})
    model: ModelReference | None = None


def make_model(folder: Path, content: str = "weights") -> ModelReference:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_text(content)
    (folder / "README.md").write_text("a card")
    return ModelReference(path=str(folder))


def test_payload_leaves_out_settings_of_speed_and_place() -> None:
    payload = ExampleConfig(batch_size=99, part=Part(every=5)).key_payload()
    assert payload == ExampleConfig().key_payload()
    assert payload == {"steps": 3, "part": {"rate": 0.5}, "splits": {"test": 2}, "model": None}


@pytest.mark.parametrize("change", [{"steps": 4}, {"part": Part(rate=1)}, {"splits": {"test": 3}}])
def test_payload_changes_with_every_other_setting(change: dict) -> None:
    assert ExampleConfig(**change).key_payload() != ExampleConfig().key_payload()


def test_payload_is_silent_about_what_was_done_before_there_was_a_choice() -> None:
    class LaterConfig(ExampleConfig):
        precision: Annotated[Literal["fp32", "bf16"], NotInKeyIf("fp32")] = "fp32"

    assert LaterConfig().key_payload() == ExampleConfig().key_payload()
    assert LaterConfig(precision="bf16").key_payload() == {**ExampleConfig().key_payload(), "precision": "bf16"}


def test_whole_numbers_and_decimals_name_the_same_value() -> None:
    assert ExampleConfig.model_validate({"part": {"rate": 1}}).key_payload() == (
        ExampleConfig.model_validate({"part": {"rate": 1.0}}).key_payload()
    )


def test_unknown_and_infinite_values_are_refused() -> None:
    with pytest.raises(ValidationError):
        ExampleConfig.model_validate({"stesp": 3})
    with pytest.raises(ValidationError):
        ExampleConfig.model_validate({"steps": float("inf")})


def test_model_is_named_by_its_content_not_its_place(tmp_path: Path) -> None:
    here, there = make_model(tmp_path / "here"), make_model(tmp_path / "deep" / "there")
    other = make_model(tmp_path / "other", "other weights")
    assert here.identity() == there.identity()
    assert here.identity() != other.identity()


def test_model_card_and_hidden_files_are_not_the_model(tmp_path: Path) -> None:
    model = make_model(tmp_path / "a")
    before = model.identity()
    (tmp_path / "a" / "README.md").write_text("another card")
    (tmp_path / "a" / ".cache").mkdir()
    (tmp_path / "a" / ".cache" / "x").write_text("x")
    assert model.identity() == before


def test_changed_weights_change_the_identity(tmp_path: Path) -> None:
    model = make_model(tmp_path / "a")
    before = model.identity()
    weights = tmp_path / "a" / "unet" / "model.safetensors"
    weights.write_text("WEIGHTS")
    os.utime(weights, ns=(1, 1))
    assert model.identity() != before


def test_hub_model_is_named_by_id_and_revision() -> None:
    assert ModelReference(path="org/name").identity() == "hub:org/name@main"
    assert ModelReference(path="org/name", revision="abc").identity() == "hub:org/name@abc"
    assert ModelReference(path="org/name").resolve() == "org/name"


def test_a_file_of_a_hub_model_is_part_of_its_name_and_a_local_copy_takes_its_place(tmp_path: Path) -> None:
    on_hub = ModelReference(path="org/name", revision="abc", file="weights.pth")
    assert on_hub.identity() == "hub:org/name@abc/weights.pth"
    (tmp_path / "weights.pth").write_bytes(b"weights")
    in_folder = on_hub.model_copy(update={"path": str(tmp_path)})
    itself = on_hub.model_copy(update={"path": str(tmp_path / "weights.pth")})
    assert in_folder.resolve() == itself.resolve() == str(tmp_path / "weights.pth")
    assert in_folder.identity() == itself.identity()


def test_packaged_data_is_found_wherever_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(ModelReference(path="data://presets").resolve()).is_dir()


def test_plain_path_is_a_reference() -> None:
    assert ExampleConfig.model_validate({"model": "org/name"}).model == ModelReference(path="org/name")


@pytest.mark.parametrize("path", ["/no/such/folder", "./nothing/here", "data://nothing"])
def test_missing_folder_is_told(path: str) -> None:
    with pytest.raises(UserError, match=f"there is no such folder .*{path}"):
        ModelReference(path=path).resolve()
