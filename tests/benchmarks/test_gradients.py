"""The laboratory of gradient estimators, on tiny models, and its figures on gradients made up for them."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gradients
from benchmarks.gradient_estimators import ESTIMATORS, costs
from comat_core.support.randomness import make_generator
from tests.tiny_captioners import save_tiny_blip
from tests.tiny_models import IMAGE_SIDE, save_tiny_sd


def test_figures_of_gradients_known_beforehand() -> None:
    exact = torch.tensor([2.0, 0.0], dtype=torch.float64)
    drawn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    found = gradients.compare(drawn, exact)
    assert found["cosine"] == pytest.approx(0.5**0.5)
    assert found["cosine_of_mean"] == pytest.approx(1.0)
    assert found["length"] == pytest.approx(0.5)
    assert found["scatter"] == pytest.approx(1.0)


@pytest.mark.slow
def test_every_estimator_and_every_way_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "captioner").mkdir()
    save_tiny_sd(tmp_path / "base")
    save_tiny_blip(tmp_path / "captioner")
    options = {"models": tmp_path, "resolution": IMAGE_SIDE, "prompts": 2, "draws": 4, "few-draws": 2}
    options |= {"steps": 4, "count": 2}
    monkeypatch.setattr(costs, "REPETITIONS", 1)
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["gradients", *flags])
    gradients.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {*ESTIMATORS, "refl", "draft-lv"} < set(result["quality"])
    assert result["quality"]["full-chain"]["cosine"] == pytest.approx(1)
    assert result["quality"]["full-chain"]["length"] == pytest.approx(1)
    assert all(figures["cosine"] < 1 - 1e-6 for name, figures in result["quality"].items() if name != "full-chain")
    cost = result["cost"]
    assert cost["drtune K=2, kept"]["calls_with_graph"] == 2
    assert cost["drtune K=2, walked back"]["calls_with_graph"] == 2
    assert cost["drtune K=2, walked back"]["calls_without"] == 4
    assert cost["drtune K=2, walked back, conditional half"]["calls_with_graph"] == 1


def test_sparse_prefers_late_steps_and_makes_up_for_the_others() -> None:
    reach = torch.tensor([0.1, 0.2, 0.3, 0.4])
    plans = [ESTIMATORS["sparse"](reach, 2, make_generator(0, "sparse", index)) for index in range(400)]
    shares = [sum(step in plan.steps for plan in plans) / len(plans) for step in range(4)]
    assert shares == sorted(shares)
    assert all(plan.factor * float(reach[list(plan.steps)].sum()) == pytest.approx(1.0) for plan in plans)


def test_a_bridge_nests_one_pair_of_neighbours() -> None:
    plans = [ESTIMATORS["bridge"](torch.ones(8), 4, make_generator(0, "bridge", index)) for index in range(50)]
    for plan in plans:
        ((earlier, later),) = plan.nested
        assert plan.steps.index(later) == plan.steps.index(earlier) + 1
    assert len({plan.steps.index(next(iter(plan.nested))[0]) for plan in plans}) == 3


def test_the_last_chain_ends_at_the_last_step_and_has_every_length() -> None:
    plans = [ESTIMATORS["last-chain"](torch.ones(5), 2, make_generator(0, "last", index)) for index in range(100)]
    assert all(plan.steps == tuple(range(5 - len(plan.steps), 5)) for plan in plans)
    assert {len(plan.steps) for plan in plans} == {1, 2, 3, 4, 5}
