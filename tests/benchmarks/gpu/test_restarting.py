"""A call is bounded in time, and the next one goes on where it ended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.results import FAILED, Results
from comat_core.support.errors import UserError

PARTS = ["sd15.step.bf16.eager", "sd15.draw.bf16"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Make a call with a stand-in for what measures: part -> what it gives, None for one that takes too long."""

    def call(given: dict[str, Any], *options: str) -> tuple[list[str], dict[str, Any]]:
        asked: list[str] = []

        def measure(part: str, seconds: float) -> dict[str, Any] | None:
            assert 0 < seconds <= 540
            asked.append(part)
            return given[part]

        monkeypatch.setattr(program, "in_a_process", measure)
        arguments = ["--tiny", "--device", "cpu", "--results", str(tmp_path / "gpu.json"), "--parts", *PARTS, *options]
        monkeypatch.setattr("sys.argv", ["gpu", *arguments])
        program.main()
        return asked, json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


def test_what_is_finished_is_not_measured_again(run: Any, tmp_path: Path) -> None:
    step, draw = PARTS
    asked, result = run({step: {"ratio": 1.0}, draw: None})
    assert (asked, result["left"]) == ([step, draw], [draw])
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"] == {step: {"ratio": 1.0}}
    asked, result = run({draw: {"per_second": 2.0}})
    assert (asked, result["left"]) == ([draw], [])
    assert result["parts"] == {step: {"ratio": 1.0}, draw: {"per_second": 2.0}}
    assert result["machine"]["torch"] == torch.__version__
    assert run({}) == ([], result)


def test_a_part_that_a_whole_call_is_too_short_for_is_given_up(run: Any) -> None:
    step, draw = PARTS
    asked, result = run({step: None, draw: {"per_second": 2.0}})
    assert asked == PARTS
    assert "took more than 540 s" in result["parts"][step][FAILED]


def test_a_failure_is_kept_with_its_reason_and_tried_again_only_if_asked(run: Any) -> None:
    step, draw = PARTS
    failed = {FAILED: "out of memory"}
    _, result = run({step: failed, draw: {}})
    assert (result["parts"][step], result["left"]) == (failed, [])
    assert run({})[0] == []
    asked, result = run({step: {"ratio": 1.1}}, "--retry-failed")
    assert (asked, result["parts"][step]) == ([step], {"ratio": 1.1})


def test_no_part_begins_once_the_time_is_up(run: Any) -> None:
    asked, result = run({}, "--time-limit", "0")
    assert (asked, result["left"]) == ([], PARTS)


def test_a_process_that_takes_too_long_is_ended_and_one_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    original = subprocess.run

    def instead(program_text: str) -> None:
        def run_other(command: list[str], **options: Any) -> Any:
            assert command[-2:] == ["--measure", "sd15.draw.bf16"]
            return original([sys.executable, "-c", program_text], **options)

        monkeypatch.setattr(subprocess, "run", run_other)

    instead("import time; time.sleep(60)")
    assert program.in_a_process("sd15.draw.bf16", 0.5) is None
    instead("import sys; sys.exit(3)")
    assert program.in_a_process("sd15.draw.bf16", 60) == {FAILED: "exit code 3"}
    instead('print("loading"); print(\'{"ratio": 1.0}\')')
    assert program.in_a_process("sd15.draw.bf16", 60) == {"ratio": 1.0}


def test_memory_that_runs_out_is_a_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(program, "measure_drawing", full)
    monkeypatch.setattr("sys.argv", ["gpu", "--tiny", "--device", "cpu", "--measure", "sdxl.draw.fp16"])
    program.main()
    assert json.loads(capsys.readouterr().out) == {FAILED: "out of memory"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a file of these results"),
        ("{", "not a file of these results"),
        ('{"machine": {"gpu": "another"}, "tiny": true, "parts": {}}', "holds results of another machine"),
        ('{"machine": {"gpu": "this"}, "tiny": false, "parts": {}}', "holds results of another tiny"),
    ],
)
def test_a_file_of_something_else_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Results.open(path, {"machine": {"gpu": "this"}, "tiny": True})


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--tiny", "--parts", "sd2.*"], "no part is named sd2"), ([], "finds no CUDA device here; --tiny measures")],
)
def test_a_call_that_cannot_be_is_told(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu", *options])
    with pytest.raises(SystemExit):
        program.main()
    assert message in capsys.readouterr().err
