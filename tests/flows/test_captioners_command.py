"""`comat captioners`: the miniature's shipped captioners compared, and the line for every mistake."""

import json

import pytest

from flows.command_line.cli import main
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
    assert blip["respects"]["attribute"]["preference"]["low"] > 0.8
    assert git["weakest"] == "relation"
    assert git["respects"]["relation"]["preference"]["low"] < 0.5, "the shipped GIT cannot tell places"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--captioner", "git"), "git names no model: write KIND=MODEL"),
        (("--captioner", "clip=org/model"), "clip=org/model: Input tag 'clip' found using 'kind' does not match"),
        (("--captioner", "git=./nowhere/at/all"), "there is no such folder"),
        (("--images", "0"), "0 is not 1 or more"),
        (("--set", "evaluate.sensitivity=null"), "names no real images"),
    ],
)
def test_a_mistake_is_told(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert message in fails_with(capsys, "captioners", "miniature", *arguments)
