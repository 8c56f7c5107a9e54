"""`comat captioners`: the miniature's shipped captioners compared, and the line for every mistake."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import GitConfig, GitForCausalLM

from flows.command_line.cli import main
from stages.plan.presets import PRESET_FOLDER
from tests.flows.test_bad_input import fails_with

GIT = ("--captioner", "git=data://miniature/git")


def test_the_shipped_captioners_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captioners", "miniature", *GIT, "--images", "60"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "60 real images (miniature world), fp32"
    assert [line.split()[0] for line in out[2:8]] == ["blip=data://miniature/captioner"] * 3 + [GIT[1]] * 3
    assert sum(line.endswith("weakest") for line in out) == 2
    assert out[8].startswith("Train with blip=data://miniature/captioner: ")
    assert out[9].startswith(f"Ahead of {GIT[1]} by +")

    assert main(["captioners", "miniature", *GIT, "--images", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["train_with"], found["runner_up"]) == ("blip=data://miniature/captioner", GIT[1])
    blip, git = found["captioners"]
    for captioner in (blip, git):
        assert all(respect["preference"]["low"] > 0.8 for respect in captioner["respects"].values())


def test_a_captioner_that_learned_nothing_is_not_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = PRESET_FOLDER.parent / "miniature" / "git"
    shutil.copytree(shipped, tmp_path / "git")
    torch.manual_seed(0)
    GitForCausalLM(GitConfig.from_pretrained(shipped)).save_pretrained(tmp_path / "git")
    untrained = f"git={tmp_path / 'git'}"
    assert main(["captioners", "miniature", "--captioner", untrained, "--images", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["train_with"], found["runner_up"]) == ("blip=data://miniature/captioner", untrained)
    weakest = found["captioners"][1]["weakest"]
    assert found["captioners"][1]["respects"][weakest]["preference"]["low"] < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--captioner", "git"), "git names no model: write KIND=MODEL"),
        (
            ("--captioner", "clip=org/model"),
            "clip=org/model: the kind is not allowed: Input tag 'clip' found using 'kind' does not match",
        ),
        (("--captioner", "git=./nowhere/at/all"), "there is no such folder"),
        (("--images", "0"), "0 is not 1 or more"),
    ],
)
def test_a_mistake_is_told(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert message in fails_with(capsys, "captioners", "miniature", *arguments)


def test_a_preset_without_real_images_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (PRESET_FOLDER / "miniature.yaml").read_text().splitlines()
    mine = tmp_path / "mine.yaml"
    mine.write_text("\n".join(line for line in lines if not line.startswith("  sensitivity:")))
    assert "names no real images" in fails_with(capsys, "captioners", str(mine))
