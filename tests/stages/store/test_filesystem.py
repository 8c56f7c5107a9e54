"""Folders on a file system that other processes write to as well."""

from pathlib import Path

import boto3
import pytest

from comat_core.support.errors import UserError
from stages.store import filesystem
from stages.store.filesystem import Folder
from stages.store.store import Condition, Store


class Elsewhere:
    """Writes and removes files as another machine does: unknown to this process's file systems."""

    def __init__(self, url: str, endpoint: str) -> None:
        self._bucket, _, self._prefix = url.removeprefix("s3://").partition("/")
        self._client = boto3.client("s3", endpoint_url=endpoint)

    def write(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", Body=content)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")


def test_what_other_machines_write_and_remove_is_seen_at_once(s3_store: str, s3_endpoint: str) -> None:
    folder, elsewhere = Folder(s3_store), Elsewhere(s3_store, s3_endpoint)
    folder.write("shards/0", b"zero")
    assert folder.sizes() == {"shards/0": 4}
    assert (folder / "shards").sizes() == {"0": 4}

    elsewhere.write("shards/1", b"one")
    assert folder.read("shards/1") == b"one"
    assert folder.has("shards/1")
    assert folder.sizes() == {"shards/0": 4, "shards/1": 3}

    elsewhere.write("shards/0", b"longer than before")
    assert folder.read("shards/0") == b"longer than before"
    assert folder.sizes()["shards/0"] == 18

    elsewhere.write("shards/2", b"two")
    folder.remove("shards/2")
    assert not folder.has("shards/2")
    elsewhere.remove("shards/1")
    assert not folder.has("shards/1")
    with pytest.raises(FileNotFoundError):
        folder.read("shards/1")
    assert folder.subfolders() == ["shards"]
    elsewhere.write("others/3", b"")
    assert folder.subfolders() == ["others", "shards"]
    folder.fs.rm(folder.path, recursive=True)
    assert folder.sizes() == {}
    elsewhere.write("shards/4", b"four")
    assert folder.sizes() == {"shards/4": 4}


def test_file_that_is_gone_is_told_from_a_store_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path / "store"))
    folder.write("a", b"1")
    for name in ("b", "a/b"):
        with pytest.raises(FileNotFoundError):
            folder.read(name)

    def refuse(path: Path, limit: int | None) -> bytes:  # noqa: ARG001
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(filesystem, "_read_plain_file", refuse)
    with pytest.raises(UserError, match=r"the store cannot be read: Permission denied .*store/a.: check its permi"):
        folder.read("a")


@pytest.mark.parametrize("failure", [TimeoutError("slow"), ConnectionResetError("reset"), OSError(5, "I/O error")])
def test_failure_to_read_is_not_taken_for_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    writer = store.writer("things", "0" * 24, {"version": 1, "config": {}}, {})
    with writer.part("shard"):
        writer.write_json("a.json", 1)
    artifact = writer.finish()

    def fail(path: Path, limit: int | None) -> bytes:  # noqa: ARG001
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "_read_plain_file", fail)
        for attempt in (
            lambda: artifact.read_json("a.json"),
            lambda: writer.has_part("shard"),
            lambda: store.usable("things", "0" * 24, {}),
        ):
            with pytest.raises(type(failure)):
                attempt()
    assert store.look_up("things", "0" * 24).condition is Condition.CACHED


def test_what_is_not_there_has_no_files_and_needs_no_removal(any_store: Store) -> None:
    folder = any_store.root / "never/made"
    assert folder.sizes() == {}
    assert folder.subfolders() == []
    assert not folder.has("a")
    folder.remove("a")
    assert any_store.root.subfolders() == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:9/x",
        "zip://inner::/nowhere/archive.zip",
        "reference://nowhere",
        "data:,hello",
        "github://nobody:nothing@main/x",
        "nonsense://x",
    ],
)
def test_stores_that_cannot_be_are_told_in_one_line(url: str) -> None:
    with pytest.raises(UserError) as raised:
        Store(url).mark()
    assert "\n" not in str(raised.value)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UserError, match=r"holds a password.*ftp://user:\*\*\*@127\.0\.0\.1") as raised:
        Folder("ftp://user:SECRET@127.0.0.1/x")
    assert "SECRET" not in str(raised.value)


def test_a_folder_that_may_not_be_read_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    folder = Folder(str(tmp_path))
    for operation in ("find", "ls", "lexists"):
        monkeypatch.setattr(type(folder.fs), operation, refuse)
    for look in (folder.sizes, folder.subfolders, lambda: folder.has("x")):
        with pytest.raises(UserError, match="the store cannot be read: Permission denied"):
            look()


def test_a_file_is_read_in_blocks_wherever_it_lies(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "BLOCK_BYTES", 4)
    folder = any_store.root
    for content, blocks in ((b"", []), (b"four", [b"four"]), (b"six to", [b"six ", b"to"])):
        folder.write("file", content)
        assert list(folder.blocks("file")) == blocks
    with pytest.raises(FileNotFoundError):
        list(folder.blocks("none"))
