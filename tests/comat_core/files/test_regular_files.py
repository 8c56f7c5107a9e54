"""Only regular files are opened, and no more of them is read than they may have."""

import os
import socket
from pathlib import Path

import pytest

from comat_core.files.regular_files import open_regular_file, read_file, read_regular_file
from comat_core.support.errors import UserError

SECONDS = 5


def special(folder: Path, kind: str) -> Path:
    """Something of a name that is no regular file."""
    path = folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pipe", "it is a pipe, no regular file"),
        ("folder", "it is a folder, no regular file"),
        ("device", "it is a device, no regular file"),
        ("socket", "it is a socket, no regular file"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"the manifest cannot be read: {message} \(.*{kind}\): check"):
        read_file(special(tmp_path, kind), "manifest", limit=100)


@pytest.mark.parametrize("name", ["absent", "a\0b", "half \ud800"])
def test_a_name_that_no_file_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="there is no such manifest"):
        read_file(tmp_path / name, "manifest", limit=100)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the manifest cannot be read: File name too long"):
        read_file(tmp_path / ("x" * 300), "manifest", limit=100)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", "manifest", limit=5) == b"12345"


@pytest.mark.parametrize("size", [6, 2**40])
def test_a_file_that_is_too_long_is_told_without_reading_it(tmp_path: Path, size: int) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    with pytest.raises(UserError, match=r"the manifest cannot be read: it has more than 5 bytes"):
        read_file(tmp_path / "file", "manifest", limit=5)


def test_a_file_that_does_not_tell_its_size_is_bounded_too() -> None:
    with pytest.raises(OSError, match="more than 5 bytes"):
        read_regular_file(Path("/proc/self/status"), limit=5)


def test_a_pipe_put_in_the_place_of_a_file_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = special(tmp_path, "pipe")
    (tmp_path / "file").touch()
    regular = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda _: regular)
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular_file(pipe)
