"""The train stage: what it writes, and that it stops when it must."""

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import stages.train.loop as loop_module
import stages.train.steps as steps_module
from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.processes.termination import TrainingStopped

MakeConfig = Callable[..., TrainConfig]
LORA = "lora/pytorch_lora_weights.safetensors"


def test_writes_a_lora_that_the_stock_pipeline_loads(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, tiny_sd_folder: Path
) -> None:
    artifact = run(make_config(), inputs, Store(str(tmp_path / "store")))
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_sd_folder)
    with artifact.local_path("lora/") as folder:
        pipeline.load_lora_weights(str(folder))
        weights = load_file(folder / "pytorch_lora_weights.safetensors")
    assert len(pipeline.get_active_adapters()) == 1
    assert any(value.abs().max() > 0 for name, value in weights.items() if "lora_B" in name or "lora.up" in name)


def test_the_lora_has_the_layers_that_are_asked_for_and_no_other(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    targets = ["attn2.to_q", "attn2.to_k"]
    artifact = run(make_config(online={"rank": 2, "target_modules": targets}), inputs, Store(str(tmp_path / "store")))
    with artifact.local_path("lora/") as folder:
        names = load_file(folder / "pytorch_lora_weights.safetensors").keys()
    layers = {next((target for target in targets if f".{target}." in name), name) for name in names}
    assert layers == set(targets)
    assert "| LoRA's layers | attn2.to_q, attn2.to_k |" in artifact.read_bytes("lora/README.md").decode()


def test_layers_that_the_base_model_does_not_have_are_told(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="attn9"):
        run(make_config(online={"target_modules": ["attn9.to_q"]}), inputs, Store(str(tmp_path / "store")))


def test_metrics_have_a_row_per_step_and_a_column_per_loss(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    table = run(make_config(), inputs, Store(str(tmp_path / "store"))).read_table("metrics.parquet")
    assert table["step"].to_pylist() == [1, 2, 3]
    losses = {"concept_activation", "fidelity", "concentration_positive", "concentration_negative"}
    assert losses <= set(table.column_names)
    assert {"discriminator_loss", "gradient_norm", "skipped"} <= set(table.column_names)
    row = table.slice(0, 1).to_pylist()[0]
    assert row["total"] == pytest.approx(sum(row[name] for name in losses), rel=1e-5)


def test_tensorboard_shows_losses_and_pictures(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = run(make_config(), inputs, Store(str(tmp_path / "store")))
    logs = EventAccumulator(str(tmp_path / "logs" / artifact.key))
    logs.Reload()
    assert [event.step for event in logs.Scalars("concept_activation")] == [1, 2, 3]
    assert [event.step for event in logs.Images("batch")] == [2]
    assert [event.step for event in logs.Images("validation")] == [0, 2]


def test_same_config_gives_the_same_files(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    first, second = (run(make_config(), inputs, Store(str(tmp_path / name))) for name in ("one", "two"))
    assert first.manifest.digest == second.manifest.digest


def test_settings_of_memory_and_logging_are_no_part_of_the_key(make_config: MakeConfig) -> None:
    assert make_config(checkpoint_denoiser=False).key_payload() == make_config().key_payload()
    assert make_config(tracking={"folder": "elsewhere"}).key_payload() == make_config().key_payload()
    assert make_config(steps=4).key_payload() != make_config().key_payload()


def test_sigterm_saves_the_state_and_ends_the_run(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop_module.discriminator_update

    def signalled(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop_module, "discriminator_update", signalled)
    with pytest.raises(TrainingStopped, match="after step 1; run again to go on"):
        run(make_config(), inputs, Store(str(tmp_path / "store")))
    assert len(list((tmp_path / "store").rglob("step-0000001/state.json"))) == 1
    assert not list((tmp_path / "store").rglob("manifest.json"))


def test_a_step_with_a_non_finite_gradient_is_skipped_and_counted(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_steps({1}, monkeypatch)
    artifact = run(make_config(), inputs, Store(str(tmp_path / "store")))
    assert artifact.read_table("metrics.parquet")["skipped"].to_pylist() == [0, 1, 1]
    assert all(torch.isfinite(value).all() for value in artifact.read_tensors(LORA).values())


def test_too_many_non_finite_steps_in_a_row_end_the_run(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_steps({0, 1, 2, 3}, monkeypatch)
    with pytest.raises(UserError, match="2 steps in a row had a non-finite loss or gradient") as caught:
        run(make_config(nonfinite_limit=2), inputs, Store(str(tmp_path / "store")))
    assert "step 2" in caught.value.where


def test_an_infinite_loss_skips_the_step_though_its_gradient_is_finite(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = steps_module.training_step

    def burst(*arguments: object, **options: object) -> object:
        output = original(*arguments, **options)  # type: ignore[arg-type]
        output.losses["concept_activation"] += float("inf")
        return output

    monkeypatch.setattr(steps_module, "training_step", burst)
    config = make_config(steps=1, weights={"fidelity": 0})
    artifact = run(config, inputs, Store(str(tmp_path / "store")))
    row = artifact.read_table("metrics.parquet").to_pylist()[0]
    assert row["skipped"] == 1
    assert math.isfinite(row["gradient_norm"])
    ups = [value for name, value in artifact.read_tensors(LORA).items() if name.endswith("lora.up.weight")]
    assert ups and not any(value.any() for value in ups), "a LoRA begins with zeros, and nothing has moved it"


def spoil_steps(numbers: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss of the given steps NaN."""
    original = steps_module.training_step

    def spoiled(*arguments: object, step: int, **options: object) -> object:
        output = original(*arguments, step=step, **options)  # type: ignore[arg-type]
        if step in numbers:
            output.total = output.total * float("nan")
        return output

    monkeypatch.setattr(steps_module, "training_step", spoiled)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captioner": None}, "concept activation needs models.captioner"),
        ({"segmenter": None}, "attribute concentration needs models.segmenter"),
        ({"sampling": {"gradient_steps": 9}}, "attention_steps <= gradient_steps <= num_inference_steps"),
        (
            {"weights": {"concept_activation": 0, "fidelity": 0, "attribute_region": 0, "attribute_pixel": 0}},
            "one weight at least must be above 0",
        ),
        ({"discriminator": {"network": {"kind": "dino"}}}, r"discriminator\.network\.dino\.model\n +Field required"),
        (
            {"discriminator": {"real": "real"}, "pair_batch_size": 0},
            "discriminator.real = real needs a pair_batch_size",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    make_config: MakeConfig, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_gradient_accumulation_equals_one_large_batch(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    large = run(make_config(steps=1, batch_size=2), inputs, Store(str(tmp_path / "large")))
    small = run(
        make_config(steps=1, batch_size=1, pair_batch_size=0, gradient_accumulation=2),
        inputs,
        Store(str(tmp_path / "small")),
    )
    no_pairs = run(make_config(steps=1, batch_size=2, pair_batch_size=0), inputs, Store(str(tmp_path / "no-pairs")))
    assert norm(no_pairs) == pytest.approx(norm(small), rel=1e-3)
    assert norm(large) != pytest.approx(norm(small), rel=1e-3), "pairs add to the gradient"


def norm(artifact: Artifact) -> float:
    return artifact.read_table("metrics.parquet")["gradient_norm"][0].as_py()
