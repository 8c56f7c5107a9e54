"""What a run says of files of questions before it makes anything from its prompts."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows import execution
from flows.command_line.cli import main
from stages.plan.pipeline import PlannedNode
from tests.scaled_down import ARGUMENTS

pytestmark = pytest.mark.usefixtures("prefect_url")

HEADER = "item_id,text,proposition_id,dependency,tuple,question_natural_language"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    prompts, questions = tmp_path / "prompts.txt", tmp_path / "questions.csv"
    prompts.write_text("a red circle\na blue square\n")
    selections = [
        "{source: miniature/held_out, split: test, count: 2}",
        "{source: miniature/fidelity, split: fidelity, count: 2}",
        f"{{file: {prompts}, split: dsg}}",
    ]
    settings = {
        "prompts.evaluation": f"[{', '.join(selections)}]",
        "images.samples.dsg": "1",
        "evaluate.dsg": f"{{questions: {{file: {questions}}}}}",
    }
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["run", "miniature", "--store", str(tmp_path / "store"), "--only", "evaluate.dsg", *ARGUMENTS, *given]


def stages_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store").glob("[!.]*")}


def test_a_malformed_file_ends_the_run_before_its_first_stage(tmp_path: Path, arguments: list[str], capsys) -> None:
    (tmp_path / "questions.csv").write_text(f'{HEADER}\n1,"a red circle,1,0,entity (circle),is there one?\n')
    assert main(arguments) == 2
    assert "malformed CSV" in capsys.readouterr().err
    assert stages_in(tmp_path) == set()


def test_a_file_about_other_prompts_ends_the_run_after_the_prompts(
    tmp_path: Path, arguments: list[str], capsys
) -> None:
    (tmp_path / "questions.csv").write_text(f"{HEADER}\n1,a cat,1,0,entity (cat),is there a cat?\n")
    assert main(arguments) == 2
    assert "no prompt of the run stands in the file of questions" in capsys.readouterr().err
    assert stages_in(tmp_path) == {"prompts"}


def test_prompts_without_questions_are_counted_before_anything_is_made_from_them(
    tmp_path: Path, arguments: list[str], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions.csv").write_text(f"{HEADER}\n1,a red  circle,1,0,entity (circle),is there a circle?\n")
    begin = execution.PlanRun.begin

    def begin_prompts(run: execution.PlanRun, node: PlannedNode) -> None:
        if node.name != "prompts":
            raise UserError(f"{node.name} comes next", "the test", "look at what was said")
        begin(run, node)

    monkeypatch.setattr(execution.PlanRun, "begin", begin_prompts)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "evaluate.dsg: 1 of 2 prompts have no questions and so no score" in told
    assert told.index("1 of 2 prompts") < told.index("comes next")
