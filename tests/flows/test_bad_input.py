"""A user's mistake ends every command with one clear line, exit code 2 and nothing half-written."""

from pathlib import Path

import pytest

from flows.command_line.cli import main
from stages.plan.dag import stage_names
from stages.store.store import Store


def fails_with(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail, and return its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err
    assert line.startswith("comat: ")
    assert line.count("\n") == 1
    assert "Traceback" not in line
    return line


class TestBeforeAnythingRuns:
    """Mistakes that are found without Prefect."""

    @pytest.mark.parametrize("command", ["run", "status", "show"])
    def test_unknown_preset(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        line = fails_with(capsys, command, "miniatrue")
        assert "unknown preset 'miniatrue'" in line
        assert "choose one of: flux-dev, miniature" in line

    @pytest.mark.parametrize("option", ["--only", "--refresh"])
    def test_unknown_stage(self, capsys: pytest.CaptureFixture[str], fake_dag: str, option: str) -> None:
        line = fails_with(capsys, "run", fake_dag, option, "trian")
        assert f"unknown stage 'trian' ({option}): choose one of: numbers, offset" in line

    def test_refreshing_what_the_run_does_not_come_to(self, capsys: pytest.CaptureFixture[str], fake_dag: str) -> None:
        line = fails_with(capsys, "run", fake_dag, "--only", "numbers", "--refresh", "report")
        assert "the run does not come to report (--refresh): add --only report" in line

    @pytest.mark.parametrize("command", ["verify", "gc"])
    def test_a_store_that_is_not_there(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
        (tmp_path / "file").touch()
        for name in ("absent", "file"):
            line = fails_with(capsys, command, "--store", str(tmp_path / name))
            assert f"there is no store ({tmp_path / name})" in line

    def test_a_preset_file_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "there is no such preset file (mine.yaml)" in fails_with(capsys, "show", "mine.yaml")

    def test_value_out_of_range(self, capsys: pytest.CaptureFixture[str], fake_dag: str) -> None:
        line = fails_with(capsys, "run", fake_dag, "--set", "numbers.count=101")
        assert "numbers.count = 101 is not allowed: Input should be less than or equal to 100" in line

    def test_malformed_yaml(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("seed: 1\nmodels: [")
        assert f"malformed YAML: expected the node content, but found '<stream end>' ({path}, line 2)" in fails_with(
            capsys, "run", str(path)
        )

    def test_unknown_store(self, capsys: pytest.CaptureFixture[str], fake_dag: str) -> None:
        line = fails_with(capsys, "run", fake_dag, "--store", "ftpp://somewhere")
        assert "no store can be used there: Protocol not known: ftpp (store ftpp://somewhere)" in line

    def test_empty_store(self, capsys: pytest.CaptureFixture[str], fake_dag: str) -> None:
        assert "the store's URL is empty (--store)" in fails_with(capsys, "run", fake_dag, "--store", "")

    def test_store_that_cannot_be_written(
        self, capsys: pytest.CaptureFixture[str], fake_dag: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        line = fails_with(capsys, "run", fake_dag, "--store", str(tmp_path / "file" / "store"))
        assert "the store cannot be written: Not a directory" in line
        assert "choose another store with --store" in line

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "the following arguments are required: COMMAND"),
            (["run"], "the following arguments are required: PRESET"),
            (["rum", "miniature"], "invalid choice: 'rum'"),
            (["run", "miniature", "--olny", "train"], "unrecognized arguments: --olny train"),
            (["gc", "--keep", "0"], "0 is not 1 or more"),
            (["gc", "--keep", "x"], "x is not 1 or more"),
            (["view", "miniature", "--port", "80x"], "80x is no port"),
            (["run", "miniature", "--stor", "x"], "unrecognized arguments: --stor x"),
            (["export", "miniature", "--format", "kohya", "--push", "lora"], "lora is no repository: write ORG/NAME"),
            (["miniature", "unet"], "unknown model 'unet' (comat miniature): choose from base"),
        ],
    )
    def test_wrong_command_line(self, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
        assert message in fails_with(capsys, *arguments)


class TestInsideAStage:
    """Mistakes that only a stage can find: Prefect's own messages must not bury the line."""

    @pytest.mark.parametrize("retries", ["0", "2"])
    def test_only_the_line_is_shown_and_nothing_is_left(
        self, start_comat, fake_dag: str, tmp_path: Path, retries: str
    ) -> None:
        store = tmp_path / "store"
        process = start_comat(
            *("run", fake_dag, "--store", str(store)),
            *("--set", "numbers.count=13", "--set", f"execution.retries={retries}"),
        )
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 2
        assert output == ""
        lines = errors.splitlines()
        assert lines[-1] == "comat: 13 numbers are too many (numbers.count): choose another count"
        assert [line for line in lines if "numbers: building" not in line] == lines[-1:]
        assert list(Store(str(store)).entries(stage_names())) == []
        assert (tmp_path / "tally.txt").read_text().split() == ["numbers"]  # a mistake is not tried again
