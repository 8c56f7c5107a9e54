"""Artifacts: what is written is what is read, and nothing else counts."""

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import MANIFEST, Artifact, DamagedArtifactError
from stages.store.locks import LeaseLostError
from stages.store.store import Condition, Store

KEY = "0123456789abcdef01234567"


def begin(store: Store) -> ArtifactWriter:
    return store.writer("things", KEY, {"version": 1, "config": {"a": 1}}, {})


def make_artifact(store: Store) -> Artifact:
    writer = begin(store)
    writer.write_table("index.parquet", pa.table({"x": [1, 2]}))
    writer.write_table("rows/00001.parquet", pa.table({"y": [3]}))
    writer.write_table("rows/00000.parquet", pa.table({"y": [1, 2]}))
    writer.write_tensors("latents.safetensors", {"a": torch.arange(6).reshape(2, 3).T})
    writer.write_json("summary.json", {"mean": 0.5, "name": "é"})
    writer.write_bytes("raw/page.html", b"<p>")
    return writer.finish()


def overwrite(artifact: Artifact, name: str, change: int = 0) -> None:
    """Flip a bit of a file's middle byte, or change its length."""
    content = bytearray(artifact.folder.read(name))
    if change:
        content = content[:change]
    else:
        content[len(content) // 2] ^= 1
    artifact.folder.write(name, bytes(content))


def test_files_come_back_as_they_were_written(any_store: Store) -> None:
    artifact = make_artifact(any_store)
    assert artifact.read_table("index.parquet").to_pydict() == {"x": [1, 2]}
    assert artifact.read_table("rows").to_pydict() == {"y": [1, 2, 3]}
    assert torch.equal(artifact.read_tensors("latents.safetensors")["a"], torch.arange(6).reshape(2, 3).T)
    assert artifact.read_json("summary.json") == {"mean": 0.5, "name": "é"}
    assert artifact.files("rows/") == ["rows/00000.parquet", "rows/00001.parquet"]
    with artifact.local_path("raw/") as folder:
        assert (folder / "page.html").read_bytes() == b"<p>"


def test_manifest_holds_config_inputs_sizes_digests_versions_and_time(store: Store) -> None:
    source = make_artifact(store)
    inputs = {"source": source}
    from stages.store.store import input_records

    writer = store.writer("others", KEY, {"version": 3, "config": {"b": 2}}, input_records(inputs))
    writer.write_json("a.json", 1)
    manifest = json.loads(writer.finish().folder.read(MANIFEST))
    assert (manifest["stage"], manifest["key"], manifest["version"]) == ("others", KEY, 3)
    assert manifest["config"] == {"b": 2}
    assert manifest["inputs"]["source"]["key"] == KEY
    assert manifest["files"]["a.json"]["size"] == 1
    assert manifest["files"]["a.json"]["sha256"].startswith("6b86b273ff34fce1")
    assert {"python", "torch", "prefect"} <= set(manifest["libraries"])
    assert manifest["seconds"] >= 0


def test_reference_is_small_json(store: Store) -> None:
    artifact = make_artifact(store)
    text = artifact.model_dump_json()
    assert len(text) < 500
    assert Artifact.model_validate_json(text).read_json("summary.json")["mean"] == 0.5


def test_references_to_one_artifact_are_equal_whichever_was_read(store: Store) -> None:
    artifact = make_artifact(store)
    other = Artifact.model_validate_json(artifact.model_dump_json())
    assert artifact.manifest.seconds >= 0
    assert other == artifact
    assert hash(other) == hash(artifact)
    assert other.model_dump() == artifact.model_dump()


def test_nothing_is_there_before_the_manifest(any_store: Store) -> None:
    begin(any_store).write_json("summary.json", 1)
    assert any_store.look_up("things", KEY).condition is Condition.MISSING


def test_equal_contents_have_equal_digests_whenever_they_were_made(tmp_path: Path) -> None:
    first, second = (make_artifact(Store(str(tmp_path / name))) for name in ("a", "b"))
    assert first.manifest.digest == second.manifest.digest


@pytest.mark.parametrize("name", ["summary.json", "index.parquet", "latents.safetensors"])
def test_flipped_bit_is_never_read(any_store: Store, name: str) -> None:
    artifact = make_artifact(any_store)
    overwrite(artifact, name)
    with pytest.raises(DamagedArtifactError, match=f"{name}.*--refresh things"):
        artifact.read_bytes(name)
    assert any_store.look_up("things", KEY).condition is Condition.DAMAGED


def test_flipped_bit_is_never_given_to_a_library_that_loads_folders(any_store: Store) -> None:
    artifact = make_artifact(any_store)
    overwrite(artifact, "raw/page.html")
    with pytest.raises(DamagedArtifactError), artifact.local_path("raw/"):
        pass


def test_truncated_file_is_found_by_its_size_alone(any_store: Store) -> None:
    artifact = make_artifact(any_store)
    overwrite(artifact, "index.parquet", change=10)
    finding = any_store.look_up("things", KEY, check_digests=False)
    assert finding.condition is Condition.DAMAGED
    assert "index.parquet has 10 bytes" in finding.problems[0]


def test_large_artifact_is_looked_up_by_sizes_and_verified_on_demand(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.store.store.CHECKED_BYTES", 10)
    overwrite(make_artifact(store), "raw/page.html")
    assert store.look_up("things", KEY).condition is Condition.CACHED
    assert store.look_up("things", KEY, check_digests=True).condition is Condition.DAMAGED


def test_missing_file_and_missing_manifest(any_store: Store) -> None:
    artifact = make_artifact(any_store)
    artifact.folder.remove("raw/page.html")
    assert "raw/page.html is gone" in any_store.look_up("things", KEY).problems
    artifact.folder.remove(MANIFEST)
    assert any_store.look_up("things", KEY).condition is Condition.MISSING


def test_half_a_manifest_is_damage(any_store: Store) -> None:
    artifact = make_artifact(any_store)
    overwrite(artifact, MANIFEST, change=40)
    assert any_store.look_up("things", KEY).condition is Condition.DAMAGED


def test_part_counts_only_when_all_its_files_are_whole(any_store: Store) -> None:
    writer = begin(any_store)
    with writer.part("one"):
        writer.write_json("a.json", 1)
        writer.write_json("b.json", 2)
    assert begin(any_store).has_part("one")
    any_store.folder("things", KEY).write("a.json", b"2")
    assert not begin(any_store).has_part("one")
    assert not begin(any_store).has_part("two")


def test_part_that_fails_is_not_there(store: Store) -> None:
    writer = begin(store)
    with pytest.raises(RuntimeError), writer.part("one"):
        writer.write_json("a.json", 1)
        raise RuntimeError("killed")
    assert not begin(store).has_part("one")


def test_removed_files_are_not_part_of_the_artifact(store: Store) -> None:
    writer = begin(store)
    for step in (1, 2):
        time.sleep(0.05)
        writer.write_json(f"checkpoints/{step}.json", step)
    writer.remove("checkpoints/1")
    artifact = writer.finish()
    assert artifact.files() == ["checkpoints/2.json"]
    assert artifact.manifest.seconds >= 0.1  # the time of what was removed still counts


def test_folder_is_added_with_all_its_files(any_store: Store, tmp_path: Path) -> None:
    (tmp_path / "lora" / "deep").mkdir(parents=True)
    (tmp_path / "lora" / "deep" / "a.txt").write_text("a")
    writer = begin(any_store)
    writer.add_folder(tmp_path / "lora", "lora/")
    assert writer.finish().read_bytes("lora/deep/a.txt") == b"a"


def test_working_folder_survives_until_the_artifact_is_finished(store: Store) -> None:
    folder = begin(store).working_folder()
    (folder / "state.txt").write_text("step 3")
    writer = begin(store)
    assert (writer.working_folder() / "state.txt").read_text() == "step 3"
    writer.write_json("a.json", 1)
    artifact = writer.finish()
    assert not folder.exists()
    assert artifact.files() == ["a.json"]


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside", "a/../../outside", "a\\b", "./a", ""])
def test_a_manifest_cannot_name_a_file_outside_its_artifact(store: Store, name: str) -> None:
    writer = begin(store)
    writer.write_bytes("a.txt", b"a")
    artifact = writer.finish()
    manifest = json.loads(artifact.folder.read(MANIFEST))
    manifest["files"][name] = manifest["files"]["a.txt"]
    artifact.folder.write(MANIFEST, json.dumps(manifest).encode())
    finding = store.look_up("things", KEY)
    assert finding.condition is Condition.DAMAGED
    with pytest.raises(DamagedArtifactError), store.artifact("things", KEY).local_path():
        pass


def test_a_remote_manifest_writes_nothing_outside_the_temporary_folder(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}")
    writer = store.writer("things", KEY, {"version": 1, "config": {}}, {})
    writer.write_bytes("a.txt", b"a")
    artifact = writer.finish()
    manifest = json.loads(artifact.folder.read(MANIFEST))
    outside = tmp_path / "outside.txt"
    manifest["files"][f"../../{outside}"] = manifest["files"]["a.txt"]
    artifact.folder.write(MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(DamagedArtifactError), store.artifact("things", KEY).local_path():
        pass
    assert not outside.exists()


def test_an_artifact_under_another_key_is_damaged(store: Store) -> None:
    writer = begin(store)
    writer.write_bytes("a.txt", b"a")
    folder = writer.finish().folder.local
    assert folder is not None
    shutil.copytree(folder, folder.with_name("b" * 24))
    finding = store.look_up("things", "b" * 24)
    assert finding.condition is Condition.DAMAGED
    assert "the manifest is that of things/" in finding.problems[0]


def test_an_artifact_of_another_version_is_damaged(store: Store) -> None:
    writer = begin(store)
    writer.finish()
    assert store.look_up("things", KEY, version=1).condition is Condition.CACHED
    assert store.look_up("things", KEY, version=2).condition is Condition.DAMAGED


def test_nothing_is_written_once_the_right_to_write_is_lost(store: Store) -> None:
    with store.lease("things", KEY, "whole") as held:
        writer = store.writer("things", KEY, {"version": 1, "config": {}}, {}, held)
        writer.write_bytes("a.txt", b"a")
        held._lost.set()
        with pytest.raises(LeaseLostError):
            writer.write_bytes("b.txt", b"b")
        with pytest.raises(LeaseLostError):
            writer.finish()
        held._lost.clear()
    assert store.look_up("things", KEY).condition is Condition.MISSING


def _no_plain_file(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)


@pytest.mark.parametrize("kind", ["pipe", "endless", "loop", "folder", "huge"])
@pytest.mark.parametrize("name", [MANIFEST, "a.txt"])
def test_what_is_no_plain_file_is_damaged_and_hangs_nothing(store: Store, name: str, kind: str) -> None:
    writer = begin(store)
    writer.write_bytes("a.txt", b"a")
    folder = writer.finish().folder.local
    assert folder is not None
    _no_plain_file(folder / name, kind)
    assert store.look_up("things", KEY, check_digests=True).condition in (Condition.DAMAGED, Condition.MISSING)
    assert store.usable("things", KEY, {}) is None
