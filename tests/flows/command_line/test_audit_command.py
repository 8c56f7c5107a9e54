"""`comat audit`: mistakes before anything runs, and the whole way from its words to a manifest that holds."""

import json
from pathlib import Path

import pytest

from flows.command_line.cli import main
from tests.flows.test_bad_input import fails_with
from tests.stages.studies.audit.audits import save_random_lora

MINIATURE = ("--preset", "miniature", "--mode", "corrected", "--steps", "2", "--guidance", "3", "--prompts", "3")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "nothing to audit is named"),
        (["./no/such/model"], "there is nothing at ./no/such/model"),
        (["data/miniature/base", "--benchmarks", "beauty"], "there is no benchmark 'beauty'"),
        (["data/miniature/base", "--benchmarks", "sensitivity"], "and not one that draws"),
        (["data/miniature/base", "--base", "data/miniature/base"], "leave --base out"),
        (["data/miniature/dino"], "is a LoRA without a base"),
        (["data/miniature/base", "--preset", "nothing"], "unknown preset 'nothing'"),
        (["data/miniature/base", "--check", "manifest.json"], "a check names no model"),
        (["--check", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = MINIATURE if "--preset" not in words and "--check" not in words else ()
    line = fails_with(capsys, "audit", *words, *settings, "--store", str(tmp_path / "store"))
    assert problem in line
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("prefect_url")
def test_a_lora_that_does_not_fit_is_one_line(
    tiny_sd2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = save_random_lora(Path("data/miniature/base"), tmp_path / "lora")
    words = [str(lora), "--base", str(tiny_sd2_folder), *MINIATURE, "--benchmarks", "judge"]
    places = ["--store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]
    assert main(["audit", *words, *places]) == 2
    assert "the LoRA does not fit a StableDiffusionPipeline" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "store" / "images.other").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_url")
def test_an_audit_goes_from_its_words_to_a_manifest_that_holds(
    tiny_sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = save_random_lora(tiny_sd_folder, tmp_path / "mine")
    words = [str(lora), "--base", str(tiny_sd_folder), *MINIATURE, "--benchmarks", "judge", "attributes"]
    places = ["--store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]
    assert main(["audit", *words, *places, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "mine: 6 (test 6), 24 passes of its denoiser" in told and "time     mine: about" in told
    assert not (tmp_path / "store").exists() and not (tmp_path / "audit").exists()
    assert main(["audit", *words, *places]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "audit" / "report.html")
    manifest = json.loads((tmp_path / "audit" / "manifest.json").read_text())
    assert set(manifest["scores"]) == {"evaluate.judge", "evaluate.attributes"}
    assert manifest["samplers"]["base"]["num_inference_steps"] == 2
    check = ["audit", "--check", str(tmp_path / "audit" / "manifest.json"), "--store", str(tmp_path / "store")]
    assert main(check) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing differs"
    assert main(["status", str(tmp_path / "audit" / "audit.yaml"), "--store", str(tmp_path / "store")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.split()[1] == "cached" for line in lines)
