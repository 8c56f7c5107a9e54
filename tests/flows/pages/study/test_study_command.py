"""`comat study` on the command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.command_line.cli import main
from stages.store.store import Store
from stages.studies.preference.answers import Answer, AnswerBook, serving_alone
from stages.studies.preference.folder import read_study
from stages.studies.preference.raters import raters_up_to
from tests.flows.conftest import ROOT
from tests.flows.test_bad_input import fails_with
from tests.stages.studies.preference.made_up_study import fill_store, made_up_preset


@pytest.fixture
def store(tmp_path: Path) -> str:
    fill_store(Store(str(tmp_path / "store")), made_up_preset())
    return str(tmp_path / "store")


def test_from_images_to_results(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    assert main(["study", "build", "miniature", "--store", store, "--out", str(folder), "--prompts", "5"]) == 0
    assert capsys.readouterr().out == f"5 pairs of images of the split test in {folder}\n"
    raters_up_to(folder, 1)
    book = AnswerBook(folder, read_study(folder), [1])
    book.add(1, Answer(pair="0001", question="quality", choice="tie"))
    assert main(["study", "results", str(folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("miniature: 1 answers by one rater on 5 pairs of images (split test).")
    assert told[-1] == str(folder / "results.html")
    assert "miniature" in (folder / "results.html").read_text()
    assert main(["study", "results", str(folder), "--json", "--output", str(tmp_path / "other.html")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["questions"]["quality"]["counts"] == {"tuned": 0, "tie": 1, "base": 0}
    assert (tmp_path / "other.html").exists()


def test_mistakes_end_with_one_line(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "study")
    line = fails_with(capsys, "study", "build", "miniature", "--store", store, "--out", out)
    assert "there are 12 prompts of the split 'test', not 100 (--prompts): give --prompts 12 or fewer" in line
    assert "there is no such study" in fails_with(capsys, "study", "serve", str(tmp_path / "nothing"))
    assert "there is no such study" in fails_with(capsys, "study", "results", str(tmp_path))
    assert "the following arguments are required: STEP" in fails_with(capsys, "study")
    assert main(["study", "build", "miniature", "--store", store, "--out", out, "--prompts", "2"]) == 0
    capsys.readouterr()
    assert "there are no answers yet" in fails_with(capsys, "study", "results", out)
    assert "cannot serve here" in fails_with(capsys, "study", "serve", out, "--host", "203.0.113.1")
    assert "is no address (--address)" in fails_with(capsys, "study", "serve", out, "--address", "nowhere")
    with serving_alone(Path(out)):
        assert "is being served already" in fails_with(capsys, "study", "serve", out)


def test_interrupt_ends_the_server_quietly(store: str, tmp_path: Path) -> None:
    out = str(tmp_path / "study")
    assert main(["study", "build", "miniature", "--store", store, "--out", out, "--prompts", "2"]) == 0
    command = [sys.executable, "-m", "flows.command_line.cli", "study", "serve", out, "--raters", "2", "--port", "0"]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert child.stdout is not None
    links = [child.stdout.readline().strip() for _ in range(2)]
    assert all(link.startswith("http://127.0.0.1:") for link in links)
    assert child.stdout.readline() == "one link per rater (Ctrl-C ends it)\n"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
