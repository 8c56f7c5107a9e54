import json
from pathlib import Path

import pytest
import torch

from benchmarks import train_step
from benchmarks.peak_memory import peak_bytes
from benchmarks.planned_step import plan_against_peak
from tests.tiny_captioners import save_tiny_blip, save_tiny_question_answerer
from tests.tiny_models import IMAGE_SIDE, save_tiny_sd
from tests.tiny_segmenters import save_tiny_clipseg

MEGABYTE = 2**20


def test_peak_is_the_highest_level_and_not_the_sum() -> None:
    def allocate_twice_and_then_both() -> None:
        for _ in range(3):
            torch.empty(MEGABYTE, dtype=torch.uint8)
        one = torch.empty(2 * MEGABYTE, dtype=torch.uint8)
        two = torch.empty(3 * MEGABYTE, dtype=torch.uint8)
        del one, two
        torch.empty(4 * MEGABYTE, dtype=torch.uint8)

    assert peak_bytes(allocate_twice_and_then_both) == pytest.approx(5 * MEGABYTE, rel=1e-3)


def test_peak_counts_what_a_graph_keeps() -> None:
    weight = torch.ones(MEGABYTE // 4, requires_grad=True)

    def chain(length: int) -> None:
        value = weight
        for _ in range(length):
            value = value.sin()
        value.sum().backward()
        weight.grad = None

    assert peak_bytes(lambda: chain(9)) - peak_bytes(lambda: chain(5)) == pytest.approx(4 * MEGABYTE, rel=0.01)


def test_every_part_reports_its_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "captioner").mkdir()
    (tmp_path / "segmenter").mkdir()
    save_tiny_sd(tmp_path / "base")
    save_tiny_blip(tmp_path / "captioner")
    save_tiny_clipseg(tmp_path / "segmenter")
    save_tiny_question_answerer(tmp_path / "vqa")
    monkeypatch.setattr(train_step, "GRADIENT_STEP_COUNTS", (1, 2))
    monkeypatch.setattr(train_step, "INFERENCE_STEP_COUNTS", (2, 3))
    arguments = {"models": tmp_path, "resolution": IMAGE_SIDE, "prompts": 2, "pairs": 1, "rank": 2}
    arguments |= {"num-inference-steps": 3, "gradient-steps": 2, "repetitions": 2}
    flags = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    parts = ["time", "memory", "attention", "rewards", "projection"]
    monkeypatch.setattr("sys.argv", ["train_step", *flags, "--parts", *parts])
    train_step.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part in ("rewards", "projection"):
        assert result[part]["ratio_lowest"] <= result[part]["ratio"] <= result[part]["ratio_highest"]
    assert result["time"]["repetitions"] == result["attention"]["repetitions"] == 2
    assert result["time"]["ratio_lowest"] <= result["time"]["ratio"] <= result["time"]["ratio_highest"]
    for mode in ("recomputing", "keeping_activations"):
        curves = result["memory"][mode]
        assert set(curves["peak_by_gradient_steps"]) == {"1", "2"}
        assert set(curves["peak_by_inference_steps"]) == {"2", "3"}
        assert curves["ratio_over_T"] == pytest.approx(1, abs=0.1)


def test_a_folder_without_models_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train_step", "--models", str(tmp_path)])
    with pytest.raises(SystemExit):
        train_step.main()
    assert "holds no folder named base" in capsys.readouterr().err


@pytest.mark.slow
def test_the_plan_comes_close_to_the_measured_peak() -> None:
    found = plan_against_peak("cpu", "train.batch_size=8", "train.pair_batch_size=2")
    ratio = found["ratio"]
    assert isinstance(ratio, float) and 0.85 < ratio < 1.15


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd3", "pixart"])
def test_a_base_of_another_family_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    flags = ["--family", family, "--parts", "time", "--prompts", "1", "--pairs", "1", "--rank", "2"]
    flags += ["--num-inference-steps", "2", "--gradient-steps", "1", "--repetitions", "1"]
    monkeypatch.setattr("sys.argv", ["train_step", *flags])
    train_step.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["family"] == family
    assert result["time"]["ratio"] > 0.5
