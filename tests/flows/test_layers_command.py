"""`comat layers`: a table of the base model's attention layers, from the preset's own prompts and segmenter."""

import json
from pathlib import Path

import pytest

from flows.command_line.cli import main
from tests.flows.test_bad_input import fails_with
from tests.scaled_down import ARGUMENTS

QUICK = ("--set", "attention.sampling.num_inference_steps=2")


@pytest.mark.usefixtures("prefect_url")
def test_the_layers_of_the_miniature_find_its_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset = ["miniature", *ARGUMENTS, *QUICK, "--store", str(tmp_path / "store")]
    assert main(["run", *preset, "--only", "prompts"]) == 0
    capsys.readouterr()
    assert "run `comat run miniature --only entities`" in fails_with(capsys, "layers", *preset)
    assert main(["run", *preset, "--only", "entities"]) == 0
    capsys.readouterr()
    assert main(["layers", *preset, "--prompts", "4", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert {layer["layer"].split("_")[0] for layer in layers} == {"down", "mid", "up"}
    precisions = [layer["average_precision"] for layer in layers]
    assert precisions == sorted(precisions, reverse=True)
    assert precisions[0] > 3 * layers[0]["chance"], "the shipped model's maps point at its objects"
    assert main(["layers", *preset, "--prompts", "4"]) == 0
    first, header, *rows = capsys.readouterr().out.splitlines()
    assert first == f"{layers[0]['objects']} objects, found in the images of 4 prompts"
    assert header.split()[:2] == ["layer", "side"]
    assert [row.split()[0] for row in rows] == [layer["layer"] for layer in layers]


def test_a_preset_without_a_segmenter_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    without = ("--set", "train.weights={attribute_region: 0, attribute_pixel: 0}", "--set", "models.segmenter=null")
    line = fails_with(capsys, "layers", "miniature", *without, "--store", str(tmp_path))
    assert "segmenter" in line
