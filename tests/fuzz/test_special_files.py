"""Pipes, devices, loops of links and folders in the place of a file are told at once, wherever a file is read."""

import os
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watch import told


def _put(kind: str, path: Path) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "nothing": "absent"}[kind])


@pytest.mark.parametrize("target", [one for one in TARGETS if one.name != "--set"], ids=lambda target: target.name)
def test_what_is_no_regular_file_is_told(target: Target, tmp_path: Path) -> None:
    for kind in ("pipe", "folder", "device", "loop", "nothing"):
        path = target.write(tmp_path / kind)
        _put(kind, path)
        line = told(lambda path=path: target.read(path))
        assert line is not None, f"a {kind} is told"
        assert str(path) in line or str(path.parent) in line
