"""`comat train-node`: what is told before any machine is waited for."""

from pathlib import Path

import pytest

from flows.command_line.cli import main

NODES = ["--nodes", "2", "--rendezvous", "127.0.0.1:29400"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "2", "--rendezvous", "here"], "here is no endpoint: write HOST:PORT"),
        (["--nodes", "2", "--rendezvous", "here:99999"], "here:99999 is no endpoint"),
        (["--nodes", "0", "--rendezvous", "here:1"], "0 is not 1 or more"),
        (["--rendezvous", "here:1"], "the following arguments are required: --nodes"),
        ([*NODES, "--node-rank", "2"], "machine 2 of 2 machines (--node-rank): count from 0"),
        ([*NODES, "--node-rank", "-1"], "--node-rank"),
    ],
)
def test_a_mistaken_argument_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-node", "miniature", "--store", str(tmp_path), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_inputs_that_are_not_there_are_named_with_the_command_that_makes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-node", "miniature", "--store", str(tmp_path), *NODES, "--node-rank", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "training's input prompts is missing" in line
    assert "run `comat run miniature --only prompts --only entities --only latents --only pairs`" in line
