"""The flow over the fake DAG: what is computed, what is reused, and what the user is told."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from flows.command_line.cli import main
from stages.store.artifacts import MANIFEST
from stages.store.store import Store
from tests.fakes import numbers
from tests.fakes.tally import tallied

ALL = [
    *("numbers", "offset", "report"),
    *("squares-0", "squares-0", "squares-1", "squares-1", "squares-2", "squares-2"),
]

pytestmark = pytest.mark.usefixtures("prefect_url")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict]:
    """Run and return the JSON object; `tallied()` then holds what this run computed."""
    assert main(["run", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def forget_tally(tally_file: Path) -> None:
    tally_file.unlink(missing_ok=True)


def test_json_names_every_step_with_key_path_and_time(capsys, fake_dag: str, store: str) -> None:
    outcomes = run(capsys, fake_dag, "--store", store)
    assert list(outcomes) == ["numbers", "offset", "squares.plain", "squares.shifted", "report"]
    assert tallied() == ALL
    for name, outcome in outcomes.items():
        assert set(outcome) == {"key", "path", "cached", "seconds"}
        assert outcome["cached"] is False
        assert Path(outcome["path"]) == Path(store) / name.split(".")[0] / outcome["key"]
        assert (Path(outcome["path"]) / MANIFEST).is_file()


def test_nothing_is_done_for_a_preset_that_is_not_trained_if_that_is_wanted(fake_dag: str, store: str) -> None:
    from flows.comat import comat

    assert comat(preset=fake_dag, store=store, only_if_trained=True) == {}
    assert tallied() == []
    assert not Path(store).exists()


def test_second_run_is_cached_throughout_and_prefect_says_so(
    capsys, fake_dag: str, store: str, tally_file: Path, prefect_url: str
) -> None:
    first = run(capsys, fake_dag, "--store", store)
    forget_tally(tally_file)
    second = run(capsys, fake_dag, "--store", store)
    assert tallied() == []
    assert {name: outcome["key"] for name, outcome in first.items()} == {
        name: outcome["key"] for name, outcome in second.items()
    }
    assert all(outcome["cached"] and outcome["seconds"] == 0 for outcome in second.values())
    assert task_states_of_last_run(prefect_url) == dict.fromkeys(second, "Cached")


def test_a_store_that_was_copied_uses_its_own_artifacts(capsys, fake_dag: str, store: str, tmp_path: Path) -> None:
    run(capsys, fake_dag, "--store", store)
    moved = tmp_path / "moved"
    shutil.copytree(store, moved)
    outcomes = run(capsys, fake_dag, "--store", str(moved))
    assert all(outcome["cached"] and Path(outcome["path"]).is_relative_to(moved) for outcome in outcomes.values())
    shutil.rmtree(store)
    forget_tally(tmp_path / "tally.txt")
    again = run(capsys, fake_dag, "--store", str(moved), "--refresh", "report")
    assert tallied() == ["report"]
    assert not Path(store).exists()
    assert again["report"]["path"] == outcomes["report"]["path"]


def task_states_of_last_run(url: str) -> dict[str, str]:
    """Task run name -> state's name, of the newest run of the flow, once the server has them all."""
    import time

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == url.rstrip("/")
        newest = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)[0]
        deadline = time.monotonic() + 60
        while True:  # the server takes task states in with some delay
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])))
            if runs and all(run.state and run.state.is_final() for run in runs):
                return {run.name: run.state.name for run in runs if run.state and run.state.name}
            assert time.monotonic() < deadline, runs
            time.sleep(0.2)


def test_last_line_is_the_path_of_the_report(capsys, fake_dag: str, store: str) -> None:
    assert main(["run", fake_dag, "--store", store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "<h1>Sums</h1>" in Path(lines[0]).read_text()


def test_refresh_recomputes_the_stage_and_its_dependents_and_nothing_else(
    capsys, fake_dag: str, store: str, tally_file: Path
) -> None:
    first = run(capsys, fake_dag, "--store", store)
    forget_tally(tally_file)
    second = run(capsys, fake_dag, "--store", store, "--refresh", "offset")
    assert tallied() == ["offset", "report", "squares-0", "squares-1", "squares-2"]
    assert [name for name, outcome in second.items() if outcome["cached"]] == ["numbers", "squares.plain"]
    assert second["report"]["key"] == first["report"]["key"]


def test_a_refresh_that_failed_goes_on_where_it_was(
    capsys, fake_dag: str, store: str, tally_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (fake_dag, "--store", store, "--set", "execution.workers=1", "--set", "execution.retries=0")
    refresh = (*command, "--refresh", "squares.plain")
    run(capsys, *command)
    forget_tally(tally_file)
    (tmp_path / "fail").touch()
    monkeypatch.setenv("COMAT_TEST_FAILURE", str(tmp_path / "fail"))
    assert main(["run", *refresh]) == 1
    assert "the worker is gone" in capsys.readouterr().err
    assert tallied() == ["squares-0", "squares-1"]
    forget_tally(tally_file)
    run(capsys, *refresh)
    assert tallied() == ["report", "squares-1", "squares-2"], "what the refresh had built stays"
    forget_tally(tally_file)
    run(capsys, *refresh)
    assert tallied() == ["report", "squares-0", "squares-1", "squares-2"], "the one before has come to its end"


def test_only_ends_at_the_stage_and_builds_what_it_lacks(capsys, fake_dag: str, store: str) -> None:
    outcomes = run(capsys, fake_dag, "--store", store, "--only", "offset")
    assert list(outcomes) == ["numbers", "offset"]
    assert tallied() == ["numbers", "offset"]


def test_setting_recomputes_what_depends_on_it(capsys, fake_dag: str, store: str, tally_file: Path) -> None:
    run(capsys, fake_dag, "--store", store)
    forget_tally(tally_file)
    run(capsys, fake_dag, "--store", store, "--set", "report.title=Other", "--set", "numbers.speed=3")
    assert tallied() == ["report"]


@pytest.mark.parametrize("damage", ["flipped byte", "truncated shard", "deleted manifest", "deleted file"])
def test_damage_is_found_and_mended_before_anything_uses_it(
    capsys, fake_dag: str, store: str, tally_file: Path, damage: str
) -> None:
    outcomes = run(capsys, fake_dag, "--store", store)
    digests = digests_of(store, outcomes)
    shard = Path(outcomes["squares.plain"]["path"]) / "squares" / "00001.parquet"
    content = shard.read_bytes()
    if damage == "flipped byte":
        shard.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    elif damage == "truncated shard":
        shard.write_bytes(content[:-1])
    elif damage == "deleted file":
        shard.unlink()
    else:
        (shard.parent.parent / MANIFEST).unlink()
    forget_tally(tally_file)
    again = run(capsys, fake_dag, "--store", store)
    assert [name for name, outcome in again.items() if not outcome["cached"]] == ["squares.plain"]
    assert tallied() == ([] if damage == "deleted manifest" else ["squares-1"])
    assert digests_of(store, again) == digests


def digests_of(store: str, outcomes: dict[str, dict]) -> dict[str, str]:
    place = Store(store)
    return {
        name: place.artifact(name.split(".")[0], outcome["key"]).manifest.digest for name, outcome in outcomes.items()
    }


def test_input_recomputed_with_other_contents_carries_through(
    capsys, fake_dag: str, store: str, tally_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = run(capsys, fake_dag, "--store", store)
    Path(outcomes["offset"]["path"], "offset.json").unlink()
    forget_tally(tally_file)
    monkeypatch.setenv("COMAT_TEST_NOISE", "1")
    run(capsys, fake_dag, "--store", store)
    assert tallied() == ["offset", "report", "squares-0", "squares-1", "squares-2"]


def test_a_shard_that_fails_is_tried_again(
    capsys, fake_dag: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fail").touch()
    monkeypatch.setenv("COMAT_TEST_FAILURE", str(tmp_path / "fail"))
    run(capsys, fake_dag, "--store", store, "--only", "squares.plain")
    assert tallied() == ["numbers", "squares-0", "squares-1", "squares-1", "squares-2"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_shard_that_fails_over_its_input_is_not_tried_again(
    capsys, fake_dag: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    (tmp_path / "fail").write_text("ValueError")
    monkeypatch.setenv("COMAT_TEST_FAILURE", str(tmp_path / "fail"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = ("--set", f"execution.workers={workers}")
    assert main(["run", fake_dag, "--store", store, "--only", "squares.plain", *settings]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("comat: ValueError: the worker is gone (trace in ")
    assert tallied().count("squares-1") == 1


def test_one_worker_runs_the_stages_in_the_main_thread_where_signals_arrive(
    capsys, fake_dag: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    monkeypatch.setattr(numbers, "tally", lambda _: threads.append(threading.current_thread()))
    run(capsys, fake_dag, "--store", store, "--set", "execution.workers=1")
    assert threads == [threading.main_thread()]


def test_failure_stops_the_run_at_once(
    capsys, fake_dag: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fail").touch()
    monkeypatch.setenv("COMAT_TEST_FAILURE", str(tmp_path / "fail"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = ("--set", "execution.workers=1", "--set", "execution.retries=0")
    assert main(["run", fake_dag, "--store", store, *settings]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    (trace,) = (tmp_path / "cache" / "comat" / "failures").iterdir()
    assert line.startswith(f"comat: RuntimeError: the worker is gone (trace in {trace}): ")
    assert "_fail_if_asked" in trace.read_text()
    assert tallied() == ["numbers", "offset", "squares-0", "squares-1"]


def test_status_and_verify_tell_the_damage(capsys, fake_dag: str, store: str) -> None:
    outcomes = run(capsys, fake_dag, "--store", store)
    Path(outcomes["offset"]["path"], "offset.json").write_text("7")
    assert main(["status", fake_dag, "--store", store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["offset", "damaged", outcomes["offset"]["key"], outcomes["offset"]["path"]]
    assert lines[2].strip() == "offset.json has other content than when it was written"
    assert main(["verify", "--store", store]) == 1
    out = capsys.readouterr().out
    assert f"damaged: offset/{outcomes['offset']['key']}: offset.json has other content" in out
    assert "4 artifacts intact, 1 damaged, 0 unfinished" in out


def test_gc_lists_and_only_then_removes(capsys, fake_dag: str, store: str) -> None:
    old = run(capsys, fake_dag, "--store", store, "--set", "report.title=Old")
    run(capsys, fake_dag, "--store", store)
    assert main(["gc", "--store", store, "--keep", "1"]) == 0
    assert f"would remove: report/{old['report']['key']}" in capsys.readouterr().out
    assert Path(old["report"]["path"]).exists()
    assert main(["gc", "--store", store, "--keep", "1", "--delete"]) == 0
    assert f"removed: report/{old['report']['key']}" in capsys.readouterr().out
    assert not Path(old["report"]["path"]).exists()
    assert main(["gc", "--store", store, "--keep", "1"]) == 0
    assert capsys.readouterr().out == "0 artifacts, 0 bytes\n"


def test_show_and_presets_print_what_there_is(capsys, fake_dag: str) -> None:
    assert main(["show", fake_dag, "--set", "numbers.count=3"]) == 0
    assert "numbers:\n  seed: 1\n  count: 3\n" in capsys.readouterr().out


def test_packaged_presets_are_listed(capsys) -> None:
    assert main(["presets"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    uses_the_world = [f"miniature{end}" for end in ("", "-ablation", "-attack", "-fast", "-same-nouns", "-sd3")]
    published = ["sd15", "sd15-8gpu", "sd15-attack", "sd15-fast", "sd15-small-gpu", "sd35-medium", "sdxl", "sdxl-fast"]
    assert names == ["flux-dev", *uses_the_world, "paper-baselines", "pixart-alpha", "sana", *published]
