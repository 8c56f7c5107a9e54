"""`comat ablate` on the real DAG in little."""

import json
import re
from pathlib import Path

import pytest

from flows.command_line.cli import main
from flows.command_line.commands import ablate
from stages.plan.runs import kept_runs
from stages.store.store import Store
from tests.flows.test_bad_input import fails_with
from tests.scaled_down import ARGUMENTS

ROWS = ("--row", "activation", "--row", "activation_concentration", "--row", "blip")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_url")
def test_rows_and_seeds_share_a_store_and_an_interrupted_ablation_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, output = tmp_path / "store", tmp_path / "tables"
    command = [
        *("ablate", "miniature", *ROWS, "--seeds", "2", "--store", str(store), "--output", str(output), "--json"),
        *(*ARGUMENTS, "--set", f"train.tracking.folder={tmp_path / 'tensorboard'}"),
    ]

    # Interrupted after the first run: nothing is written, what was computed stays.
    original = ablate.logger.info

    def interrupt_second(message: str, *arguments: object) -> None:
        original(message, *arguments)
        if message == ablate.RUN_MESSAGE and arguments[1] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ablate.logger, "info", interrupt_second)
        assert main(command) == 130
    assert not output.exists()
    first = {folder: folder.stat().st_mtime_ns for folder in store.glob("train/*/manifest.json")}
    assert len(first) == 1
    capsys.readouterr()

    # The same command goes on: two distinct rows with two seeds, on one set of base images.
    assert main(command) == 0
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {folder: folder.stat().st_mtime_ns for folder in first} == first
    found = {stage: len(list(store.glob(f"{stage}/*/manifest.json"))) for stage in ("prompts", "latents", "train")}
    assert found == {"prompts": 1, "latents": 1, "train": 4}
    assert len(list(store.glob("images/*/manifest.json"))) == 2 + 2 * 4  # two splits, by the base model and by each
    assert not list(store.glob("report/*/manifest.json"))

    # The tables hold what the evaluations say.
    assert numbers == json.loads((output / "ablation.json").read_text())
    assert numbers["seeds"] == [1, 2]
    rows = {name: table["rows"] for name, table in numbers["tables"].items()}
    assert rows["captioner"]["blip"]["scores"] == rows["parts"]["activation_concentration"]["scores"]
    for row in (row for table in rows.values() for row in table.values()):
        ratios = {f"frechet_distance_ratio/{name}" for name in ("dino", "dino_patches")}
        assert set(row["scores"]) == {"attribute_binding", "all_right", "frechet_distance/judge"} | ratios
        for seed, keys in row["keys"].items():
            summary = json.loads((store / "evaluate.fidelity" / keys["evaluate.fidelity"] / "summary.json").read_text())
            measured = summary["models"]["tuned"]["frechet_distance/judge"]["mean"]
            assert row["scores"]["frechet_distance/judge"]["values"][seed] == measured
            base = summary["models"]["base"]["frechet_distance/judge"]["mean"]
            assert base == numbers["base"]["frechet_distance/judge"]
            assert all(row["scores"][name]["values"][seed] == summary["delta"][name]["mean"] for name in ratios)
    lines = (output / "ablation.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("| concept activation |"))
    assert re.fullmatch(r"\| concept activation \|( −?\d+\.\d{3} ± \d+\.\d{3} \|){5} \*0\.7455\* \|", line)
    assert "<svg" in (output / "ablation.html").read_text()

    # `comat gc` keeps every variant's last runs.
    names = {record.preset for record in kept_runs(Store(str(store)), 1).values()}
    distinct = ("activation_concentration", "activation")
    assert names == {f"miniature ablation: {row}, seed {seed}" for row in distinct for seed in (1, 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "fidelty"], "unknown table 'fidelty' (--table): choose one of: fidelity, parts, captioner"),
        (["--row", "gti"], "unknown row 'gti' (--row): choose one of: no_discriminator,"),
        (["--seeds", "0"], "0 is not 1 or more"),
        (["--set", "train.stepz=1"], "unknown setting train.stepz"),
    ],
)
def test_bad_input_ends_with_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    store = tmp_path / "store"
    assert message in fails_with(capsys, "ablate", "miniature", "--store", str(store), *arguments)
    assert not store.exists()
