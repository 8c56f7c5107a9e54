"""Data that tries to run code or to name files elsewhere is refused. (Checkpoints: tests/comat_core.)"""

import json
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan.presets import as_yaml, load_preset
from stages.store.store import Condition, Store
from tests.stages.fake_run import make_artifact


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:os.system ['touch {mark}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!mine {{a: 1}}",
    ],
)
def test_a_presets_tags_make_no_objects(tmp_path: Path, tag: str) -> None:
    mark = tmp_path / "it ran"
    value = tag.format(mark=mark)
    preset = tmp_path / "mine.yaml"
    preset.write_text(as_yaml(load_preset("miniature")) + f"\nmine: {value}\n")
    for name, settings in ((str(preset), []), ("miniature", [f"seed={value}"])):
        with pytest.raises(UserError) as caught:
            load_preset(name, settings)
        assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../stolen", "lora/../../../stolen", "/etc/hostname"])
def test_a_manifest_names_no_file_outside_of_its_artifact(store: Store, name: str) -> None:
    artifact = make_artifact(store, "train", documents={"a.json": 1})
    assert store.look_up("train", artifact.key).condition is Condition.CACHED
    folder = artifact.folder.local
    assert folder is not None
    (folder.parent / "stolen").write_text("1")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["a.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    finding = store.look_up("train", artifact.key)
    assert finding.condition is Condition.DAMAGED
    assert finding.artifact is None
