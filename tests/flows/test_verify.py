"""What `comat verify` and `comat status` say of damage, however much there is."""

from pathlib import Path

import pytest

from flows.command_line.cli import main
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store.store import Store

FILES = 500


@pytest.fixture
def damaged(fake_dag: str, tmp_path: Path) -> tuple[str, str]:
    """A store whose artifact of numbers has lost all its files, and the artifact's key."""
    node = make_plan(load_preset(fake_dag).sections).by_name["numbers"]
    store = Store(str(tmp_path / "store"))
    writer = store.writer("numbers", node.key, {"version": 1, "config": {}}, {})
    long, hostile = "x" * 250, "\x1b[31mred"
    for name in [f"{hostile}", f"{long}", *(f"y{number}" for number in range(FILES - 2))]:
        writer.write_bytes(name, b"")
    artifact = writer.finish()
    for name in artifact.manifest.files:
        Path(tmp_path / "store" / "numbers" / node.key / name).unlink()
    return store.url, node.key


def test_verify_names_the_first_problems_and_counts_the_rest(
    capsys: pytest.CaptureFixture[str], damaged: tuple[str, str]
) -> None:
    store, key = damaged
    assert main(["verify", "--store", store]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"damaged: numbers/{key}: ?[31mred is gone; {'x' * 200}…; y0 is gone; and {FILES - 3} more")
    assert last == "0 artifacts intact, 1 damaged, 0 unfinished"


def test_status_does_so_too(capsys: pytest.CaptureFixture[str], fake_dag: str, damaged: tuple[str, str]) -> None:
    store, _ = damaged
    assert main(["status", fake_dag, "--store", store]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:5] == ["?[31mred is gone", f"{'x' * 200}…", "y0 is gone", f"and {FILES - 3} more"]
    assert len(lines) == 5 + 4
