"""What the comparison of the fast preset says, and the calls that its presets leave out."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import fast
from benchmarks.fast import Trained, Work, compare, table
from benchmarks.network_calls import counted_calls
from comat_core.backbones.guided_denoiser import is_guided
from stages.plan.presets import load_preset

TINY = (
    "train.steps=2",
    "train.online.warmup_steps=0",
    "train.batch_size=2",
    "train.pair_batch_size=2",
    "images.samples={test: 1, fidelity: 1}",
)


def trained(*, right: float, rows: int, seconds: float, distance: float = 1.0) -> Trained:
    """Ten prompts, a share of which the judge finds right."""
    items = {(f"p{number}", 0): float(number < 10 * right) for number in range(10)}
    work = {name: Work(rows // 8, rows, seconds, seconds / 2) for name in ("latents", "train")}
    gain = {"mean": right - 0.4, "low": right - 0.5, "high": right - 0.3}
    return Trained(work, gain, {"dino": {"mean": distance, "low": distance - 0.1, "high": distance + 0.1}}, items)


def compared(fast_one: Trained) -> dict[str, Any]:
    default = trained(right=0.6, rows=1000, seconds=100)
    return compare({"miniature": {1: default, 2: default}, "miniature-fast": {1: fast_one, 2: fast_one}})


def test_a_training_that_keeps_every_bar_is_told_so() -> None:
    result = compared(trained(right=0.6, rows=380, seconds=45))
    assert result["fast_over_default"] == {"rows": 0.38, "seconds": 0.45, "processor_seconds": 0.45}
    assert result["difference_of_gains"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert all(result["bars"].values()) and len(result["bars"]) == 4
    lines = table(result).splitlines()
    assert lines[0] == "| seeds 1, 2 | miniature | miniature-fast | |"
    assert "| rows given to the denoiser in training | 1,000 | 380 | x 0.38 |" in lines
    json.dumps(result)


@pytest.mark.parametrize(
    ("changes", "bar"),
    [
        ({"rows": 401}, "at most 0.4 of the calls"),
        ({"seconds": 51}, "at most 0.5 of the time"),
        ({"right": 0.0}, "no less gain, within the difference's interval"),
        ({"distance": 1.2}, "distances within the default's intervals"),
    ],
)
def test_a_bar_that_is_missed_is_named(changes: dict[str, Any], bar: str) -> None:
    values: dict[str, Any] = {"right": 0.6, "rows": 380, "seconds": 45.0} | changes
    assert [name for name, kept in compared(trained(**values))["bars"].items() if not kept] == [bar]


def test_more_gain_is_no_missed_bar() -> None:
    assert all(compared(trained(right=1.0, rows=380, seconds=45))["bars"].values())


def test_calls_are_counted_with_their_rows_and_plans_are_none() -> None:
    class Half(nn.Linear):
        pass

    network, other = Half(2, 2), nn.Linear(2, 2)
    with counted_calls(Half) as counted:
        network(torch.zeros(3, 2))
        other(torch.zeros(5, 2))
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            network(mode.from_tensor(torch.zeros(7, 2)))
        network(torch.zeros(1, 2))
    network(torch.zeros(9, 2))
    assert (counted.calls, counted.rows) == (2, 4)


@pytest.mark.parametrize(
    ("name", "plain", "rows", "spacing"),
    [
        ("sd15-fast", "sd15", 30, "leading"),
        ("sdxl-fast", "sdxl", 30, "leading"),
        ("miniature-fast", "miniature", 8, "trailing"),
    ],
)
def test_the_fast_presets_leave_out_what_their_page_says(name: str, plain: str, rows: float, spacing: str) -> None:
    sections: Any = load_preset(name).sections
    sampling = sections["train"].sampling
    kind: Any = DDIMScheduler
    scheduler = kind(steps_offset=1, timestep_spacing=spacing)
    scheduler.set_timesteps(sampling.num_inference_steps)
    halves = [1 + is_guided(timestep, sampling.guidance_interval) for timestep in scheduler.timesteps]
    assert sum(halves) == rows and sampling.start_steps is None
    others: Any = load_preset(plain).sections
    for section, config in others.items():
        if section not in ("latents", "train"):
            assert config == sections[section], "what is measured is measured alike"


def test_a_training_that_nobody_counted_is_refused(tmp_path: Path) -> None:
    node: Any = SimpleNamespace(name="train", key="some-key", stage=SimpleNamespace(name="train"))
    found = SimpleNamespace(artifact="there already")
    store: Any = SimpleNamespace(look_up=lambda *_arguments: found)
    with pytest.raises(SystemExit, match="nobody counted its calls"):
        fast._built(node, {}, store, {}, tmp_path / "fast.json")


@pytest.mark.slow
def test_both_presets_are_trained_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [
        *TINY,
        "prompts.train=[{source: miniature/training, count: 4}]",
        "prompts.evaluation=[{source: miniature/held_out, split: test, count: 4}, "
        "{source: miniature/fidelity, split: fidelity, count: 40}]",
        "pairs.count=4",
        "evaluate.fidelity.real.count=120",
        "train.tracking.validation_every=0",
        f"train.tracking.folder={tmp_path / 'logs'}",
    ]
    places = ["--store", str(tmp_path / "store"), "--results", str(tmp_path / "fast.json")]
    arguments = [*places, "--seeds", "1", *(part for one in sets for part in ("--set", one))]
    monkeypatch.setattr("sys.argv", ["fast", *arguments])
    fast.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    prompts, judged = 2 * 2, 2 * (2 + 4)
    assert result["ways"]["miniature"]["train"]["rows"] == prompts * 16 + judged
    assert result["ways"]["miniature"]["latents"]["rows"] == 4 * 16
    assert result["ways"]["miniature-fast"]["latents"]["rows"] == 4 * 8
    assert result["fast_over_default"]["rows"] < 1
    assert len(result["ways"]["miniature-fast"]["gains"]) == 1

    def never(*_arguments: object) -> None:
        raise AssertionError("all is there")

    monkeypatch.setattr(UNet2DConditionModel, "forward", never)
    fast.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
