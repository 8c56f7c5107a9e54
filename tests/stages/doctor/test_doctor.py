"""`comat doctor`: what each examination says, and that none keeps anybody waiting."""

import json
import sys
import time
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows.command_line.cli import main
from flows.command_line.commands import doctor
from stages.doctor import examination, needs, network, software
from stages.doctor.disk import DiskPlan, count_prompts, examine_disk, plan_disk, with_checkpoints
from stages.doctor.examination import examine
from stages.doctor.findings import Finding, Verdict, good, note, problem
from stages.doctor.needs import examine_data, examine_models
from stages.doctor.probe import Request
from stages.models.needed_models import NeededModel
from stages.plan.presets import load_preset
from stages.prompts.config import PromptSelection
from stages.store.store import Store


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.subject, str(finding.verdict)) for finding in findings]


class TestSoftware:
    """Versions."""

    def test_what_is_installed_is_told(self) -> None:
        (found,) = software.examine_software()
        assert found.verdict is Verdict.GOOD
        assert "torch 2" in found.what

    def test_what_is_missing_or_too_old_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted = ["torch>=999", "no-such-package>=1", "other>=1; extra == 'test'"]
        monkeypatch.setattr(software, "requires", lambda _: wanted)
        _, old, missing = software.examine_software()
        assert old.what.startswith("torch is 2")
        assert (missing.what, missing.what_to_do) == (
            "no-such-package is not installed",
            "run `pip install 'no-such-package>=1'`",
        )
        assert old.verdict is missing.verdict is Verdict.PROBLEM


class TestDisk:
    """The estimate and the room for it."""

    def test_estimate_follows_the_formula(self) -> None:
        plan = plan_disk(load_preset("miniature"))
        assert plan.images == (200 * 2 + 600 * 1) * 2 * int(64 * 64 * 3 * 0.6)
        assert plan.latents == 600 * 4 * 8 * 8 * 4
        assert plan.pairs == 400 * 4 * 8 * 8 * 2
        assert plan.checkpoints is None

    def test_checkpoints_are_those_that_stay_and_one_more(self) -> None:
        preset = load_preset("miniature", ["train.checkpoints.keep=3"])
        plan = with_checkpoints(plan_disk(preset), preset, 1000)
        assert plan.checkpoints == 4000
        assert plan.total == plan.images + plan.latents + plan.pairs + 4000

    def test_prompts_are_counted_as_the_registry_knows_them(self) -> None:
        selections = [PromptSelection(source="dsg/prompts", split="dsg"), PromptSelection(file="mine.txt", split="dsg")]
        assert count_prompts(selections, "dsg") == 1060
        assert count_prompts([selections[0].model_copy(update={"count": 7})], "dsg") == 7
        assert count_prompts(selections, "test") == 0

    def test_room_is_looked_for_where_the_store_will_be(self, tmp_path: Path) -> None:
        store = Store(str(tmp_path / "not" / "yet"))
        assert examine_disk(DiskPlan(images=1, latents=1, pairs=1), store).verdict is Verdict.GOOD
        full = examine_disk(DiskPlan(images=10**18, latents=0, pairs=0), store)
        assert (full.verdict, full.what_to_do) == (Verdict.PROBLEM, "make room, or choose another place with --store")
        assert "not known yet" in examine_disk(None, store).what


class TestNeeds:
    """Models and data."""

    @staticmethod
    def model(presence: str) -> NeededModel:
        return NeededModel(("models.base",), "org/name", None, presence, 10**9, "MIT", None)

    @pytest.mark.parametrize(
        ("presence", "unreachable", "verdict", "what"),
        [
            ("local", "no network", Verdict.GOOD, "all 1 that the preset names are here"),
            ("cached (fp16)", None, Verdict.GOOD, "all 1"),
            ("not cached", None, Verdict.NOTE, "1 of 1 are to be fetched, 1.0 GB: org/name"),
            ("partly cached", "no network", Verdict.PROBLEM, "the hub gives no answer"),
        ],
    )
    def test_models(
        self, monkeypatch: pytest.MonkeyPatch, presence: str, unreachable: str | None, verdict: Verdict, what: str
    ) -> None:
        monkeypatch.setattr(needs, "needed_models", lambda _: [self.model(presence)])
        (found,) = examine_models(load_preset("miniature"), unreachable)
        assert found.verdict is verdict
        assert what in found.what

    def test_models_that_cannot_be_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        presences = ["local, but unusable: no weights", "not installed: python -m spacy download x"]
        monkeypatch.setattr(needs, "needed_models", lambda _: [self.model(one) for one in presences])
        first, second, _ = examine_models(load_preset("miniature"), None)
        assert (first.verdict, second.verdict) == (Verdict.PROBLEM, Verdict.PROBLEM)
        assert second.what_to_do == "run `python -m spacy download x`"

    def test_a_model_folder_that_is_not_there(self) -> None:
        (found,) = examine_models(load_preset("miniature", ["models.base=/no/such/folder"]), None)
        assert (found.verdict, found.what_to_do) == (Verdict.PROBLEM, "give an existing folder or a hub id")

    def test_folders_of_images_that_are_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        preset = load_preset("sd15")
        found = [finding for finding in examine_data(preset) if finding.verdict is Verdict.PROBLEM]
        assert [one.what for one in found] == [
            "there is no folder of real images at ./coco",
            "there is no folder of real images at ./coco/val2014",
        ]
        assert "pairs.folder" in found[0].what_to_do
        (tmp_path / "coco" / "val2014").mkdir(parents=True)
        assert not [finding for finding in examine_data(preset) if finding.verdict is Verdict.PROBLEM]

    def test_prompt_files_that_are_not_there(self) -> None:
        preset = load_preset("miniature", ["prompts.train=[{file: /no/such.txt}]"])
        (found,) = examine_data(preset)
        assert (found.verdict, "/no/such.txt" in found.what) == (Verdict.PROBLEM, True)


class TestNetwork:
    """Whether the hub answers."""

    def test_a_refusal_is_told_and_an_error_page_is_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reason = network.why_unreachable("http://127.0.0.1:9", seconds=5)
        assert reason is not None
        assert "refused" in reason
        monkeypatch.setattr(network, "_ask", lambda *_: None)
        assert network.why_unreachable("https://hub.example", seconds=5) is None

    def test_silence_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network, "_ask", lambda *_: time.sleep(60))
        start = time.monotonic()
        assert network.why_unreachable("https://hub.example", seconds=0.2) == "no answer within 0 s"
        assert time.monotonic() - start < 10


class TestExamination:
    """All of it together."""

    @pytest.fixture(autouse=True)
    def without_a_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def test_what_does_not_answer_in_time_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sleeper = tmp_path / "sleeper.py"
        sleeper.write_text("import time\ntime.sleep(600)\n")
        real = examination.subprocess.Popen

        def asleep(command: list[str], **settings: object) -> object:
            return real([sys.executable, str(sleeper), *command[4:]], **settings)  # pyright: ignore[reportCallIssue, reportArgumentType]

        monkeypatch.setattr(examination.subprocess, "Popen", asleep)
        start = time.monotonic()
        found = examine(load_preset("miniature"), Request(preset="miniature", settings=[]), Store(str(tmp_path)), 1.0)
        assert time.monotonic() - start < 30
        assert ("data", "problem") in verdicts(found)
        assert ("models", "problem") in verdicts(found)
        assert ("memory", "note") in verdicts(found)

    def test_an_examination_that_fails_is_a_problem(self, tmp_path: Path) -> None:
        request = Request(preset="no such preset", settings=[])
        found = examine(load_preset("miniature"), request, Store(str(tmp_path)), 300.0)
        failed = [finding.what for finding in found if "the examination failed" in finding.what]
        assert len(failed) == 3
        assert "no such preset" in failed[0]

    @pytest.mark.slow
    def test_miniature_can_start_anywhere(self, tmp_path: Path) -> None:
        found = examine(load_preset("miniature"), Request(preset="miniature", settings=[]), Store(str(tmp_path)), 500.0)
        assert not [finding for finding in found if finding.verdict is Verdict.PROBLEM]
        lines = {finding.subject: finding.what for finding in found}
        assert lines["models"].startswith("all ")
        assert "training needs about" in lines["memory"]
        assert "checkpoints unknown" not in lines["disk"]


class TestCommand:
    """Exit codes and JSON."""

    @pytest.mark.parametrize(("last", "code"), [(note("b", "c", "d"), 0), (problem("b", "c", "d"), 2)])
    def test_exit_code_says_whether_a_run_can_start(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: Finding, code: int
    ) -> None:
        monkeypatch.setattr(doctor, "examine", lambda *_: [good("a", "b"), last])
        assert main(["doctor", "miniature"]) == code
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "good     a         b"
        assert told[-1] == ("1 problems" if code else "`comat run miniature` can start")
        assert main(["doctor", "miniature", "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        assert (document["can_start"], len(document["findings"])) == (code == 0, 2)

    def test_unknown_presets_end_with_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "miniatrue"]) == 2
        assert "unknown preset 'miniatrue'" in capsys.readouterr().err


def test_the_store_may_lie_elsewhere() -> None:
    found = examine_disk(DiskPlan(images=1, latents=1, pairs=1), Store("memory://somewhere"))
    assert found.verdict is Verdict.NOTE
    with pytest.raises(UserError):
        Store("nowhere://x")
