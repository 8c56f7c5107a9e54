"""Plans: keys, selections and what depends on what."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan import dag
from stages.plan.pipeline import Plan, check_prompts, fetch_files, is_trained, look_up, make_plan
from stages.plan.presets import load_preset
from stages.plan.refreshes import begin_refresh
from stages.plan.stage import Inputs
from stages.store.store import Condition, Store
from tests.fakes.dag import NODES, PRESET

REAL_NODES = dag.NODES


@pytest.fixture(autouse=True)
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_preset(PRESET, overrides).sections)


def keys(plan: Plan) -> dict[str, str]:
    return {node.name: node.key for node in plan.nodes}


def build_all(plan: Plan, store: Store) -> None:
    made: dict = {}
    for node in plan.nodes:
        inputs: Inputs = {role: made[source] for role, source in node.inputs.items()}
        made[node.name] = node.stage.run(node.config, inputs, store)


def test_every_node_of_the_real_dag_comes_after_its_inputs() -> None:
    for nodes in (dag.NODES, NODES):
        seen: set[str] = set()
        for node in nodes:
            assert node.name not in seen
            seen.add(node.name)
            assert set(node.inputs.values()) < seen


def test_a_setting_changes_the_keys_of_its_step_and_its_dependents_only() -> None:
    before, after = keys(plan_of()), keys(plan_of("offset.offset=6"))
    assert {name for name in before if before[name] != after[name]} == {"offset", "squares.shifted", "report"}


def test_two_steps_of_one_stage_differ_by_their_inputs() -> None:
    plan = plan_of()
    assert plan.by_name["squares.plain"].stage is plan.by_name["squares.shifted"].stage
    assert plan.by_name["squares.plain"].key != plan.by_name["squares.shifted"].key


def test_a_step_that_nobody_wants_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    plan = make_plan(load_preset("miniature", ["models.vqa.path=data://miniature/nowhere"]).sections)
    assert plan.wanted(["train"]) == {"prompts", "pairs", "entities", "latents", "train"}
    with pytest.raises(UserError, match="nowhere"):
        plan.wanted([])
    with pytest.raises(UserError, match="nowhere"):
        plan.wanted(["evaluate.attributes"])


def test_every_split_has_images_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    splits = ["images.samples={test: 2, tifa: 1}", "evaluate={tifa: {}, judge: {}}"]
    plan = make_plan(load_preset("miniature", splits).sections)
    names = ["images.base", "images.base.tifa", "images.tuned", "images.tuned.tifa"]
    assert [name for name in plan.by_name if name.startswith("images.")] == names
    samples = [plan.by_name[name].config.model_dump()["samples"] for name in names]
    assert samples == [{"test": 2}, {"tifa": 1}, {"test": 2}, {"tifa": 1}]
    wanted = plan.with_inputs(plan.select(["evaluate.tifa"], "--only"))
    assert [name for name in names if name in wanted] == ["images.base.tifa", "images.tuned.tifa"]


def test_maps_follow_the_model_that_drew_them_and_not_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)

    def changed_by(setting: str) -> set[str]:
        plans = [make_plan(load_preset("miniature", settings).sections) for settings in ([], [setting])]
        return {node.name for node in plans[0].nodes if plans[1].by_name[node.name].key != node.key}

    assert changed_by("report.title=Other") == {"report"}
    assert changed_by("attention.examples=7") == {"attention.base", "attention.tuned", "report"}
    trained = changed_by("train.steps=7")
    assert {"train", "images.tuned", "attention.tuned", "report"} <= trained
    assert not {"images.base", "attention.base"} & trained
    plan = make_plan(load_preset("miniature").sections)
    renewed = plan.renewed(["train"], set(plan.by_name))
    assert ("attention.tuned" in renewed, "attention.base" in renewed) == (True, False)
    assert plan.select(["attention"], "--only") == {"attention.base", "attention.tuned"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images.samples": "{fidelity: 1}"}, "evaluate.attributes needs images of the split 'test'"),
        ({"evaluate.tifa": "{}"}, r"evaluate.tifa needs images of the split 'tifa' \(images.samples\): .* as tifa: 1"),
    ],
)
def test_images_that_an_evaluation_lacks_are_named(
    settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    overrides = [f"{key}={value}" for key, value in settings.items()]
    with pytest.raises(UserError, match=message):
        make_plan(load_preset("miniature", overrides).sections)


def test_a_preset_is_trained_once_its_own_training_is_finished(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    assert not is_trained(plan_of(), store)  # a DAG without training
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    plan, other = (make_plan(load_preset("miniature", [f"train.steps={steps}"]).sections) for steps in (3, 4))
    writer = store.writer("train", plan.by_name["train"].key, {"version": 1, "config": {}}, {})
    assert not is_trained(plan, store)
    writer.finish()
    assert is_trained(plan, store)
    assert not is_trained(other, store)


def test_a_stages_name_selects_all_its_steps() -> None:
    plan = plan_of()
    assert plan.select(["squares"], "--only") == {"squares.plain", "squares.shifted"}
    assert plan.select(["squares.plain"], "--only") == {"squares.plain"}
    with pytest.raises(UserError, match=r"unknown stage 'square' \(--only\): choose one of: numbers, offset"):
        plan.select(["square"], "--only")


def test_inputs_and_dependents_reach_all_the_way() -> None:
    plan = plan_of()
    assert plan.with_inputs({"squares.shifted"}) == {"numbers", "offset", "squares.shifted"}
    assert plan.with_dependents({"offset"}) == {"offset", "squares.shifted", "report"}


def test_store_knows_the_condition_of_every_step(store: Store) -> None:
    plan = plan_of()
    assert {finding.condition for finding in look_up(plan, store).values()} == {Condition.MISSING}
    build_all(plan, store)
    assert {finding.condition for finding in look_up(plan, store).values()} == {Condition.CACHED}
    store.artifact("offset", plan.by_name["offset"].key).folder.write("offset.json", b"6")
    conditions = {name: finding.condition for name, finding in look_up(plan, store).items()}
    assert conditions["offset"] is Condition.DAMAGED
    assert conditions["squares.shifted"] is Condition.CACHED


def test_a_step_whose_files_are_missing_blocks_what_is_made_from_it_and_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    settings = ["pairs.source=coco", "pairs.folder=./no/coco"]
    findings = look_up(make_plan(load_preset("miniature", settings).sections), store)
    assert findings["pairs"].condition is Condition.BLOCKED
    assert "there is no such folder (path ./no/coco" in findings["pairs"].problems[0]
    assert findings["train"].problems == ["it is made from pairs"]
    assert findings["latents"].condition is Condition.MISSING


def test_recomputed_input_with_other_contents_makes_dependents_outdated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    build_all(plan, store)
    begin_refresh(plan, {"offset"}, store)
    monkeypatch.setenv("COMAT_TEST_NOISE", "1")
    offset = plan.by_name["offset"]
    offset.stage.run(offset.config, {"numbers": store.artifact("numbers", plan.by_name["numbers"].key)}, store)
    conditions = {name: finding.condition for name, finding in look_up(plan, store).items()}
    assert conditions["squares.shifted"] is Condition.OUTDATED
    assert conditions["squares.plain"] is Condition.CACHED


def test_files_are_fetched_for_the_steps_that_will_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    plan, store = plan_of(), Store(str(tmp_path))
    for node in plan.nodes:
        monkeypatch.setattr(type(node.config), "fetch_files", lambda config: fetched.append(type(config).__name__))
    names = set(plan.by_name)
    fetch_files(plan, names, set(), store)
    # Both nodes of the squares read the same files.
    assert fetched == [type(node.config).__name__ for node in plan.nodes if node.name != "squares.shifted"]
    build_all(plan, store)
    fetched.clear()
    fetch_files(plan, names, set(), store)
    assert fetched == []
    last = plan.nodes[-1]
    fetch_files(plan, {last.name}, names, store)
    assert fetched == [type(last.config).__name__]


def test_prompts_are_checked_by_the_steps_that_will_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[str, str]] = []
    plan, store = plan_of(), Store(str(tmp_path))
    numbers, report = plan.by_name["numbers"], plan.by_name["report"]
    monkeypatch.setattr(
        type(report.config), "check_prompts", lambda config, one: checked.append((type(config).__name__, one.key))
    )
    made = numbers.stage.run(numbers.config, {}, store)
    check_prompts(plan, {"numbers"}, made, store)
    assert checked == []
    check_prompts(plan, set(plan.by_name), made, store)
    assert checked == [(type(report.config).__name__, made.key)]
    build_all(plan, store)
    check_prompts(plan, set(plan.by_name), made, store)
    assert len(checked) == 1


def test_no_file_is_asked_for_by_a_step_that_nobody_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", REAL_NODES)
    plan = make_plan(load_preset("miniature", ["models.base=/no/such/model"]).sections)
    monkeypatch.setattr(type(plan.by_name["train"].config), "fetch_files", lambda _config: None)
    fetch_files(plan, {"prompts"}, set(), Store(str(tmp_path)))
    with pytest.raises(UserError, match=r"there is no such folder.*setting base"):
        fetch_files(plan, {"train"}, set(), Store(str(tmp_path)))
