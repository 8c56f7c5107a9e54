"""One member of a zip archive, bounded."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.formats.zip_members import read_zip_member


def archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/b.json", content)
    return buffer.getvalue()


def read(folder: Path, content: bytes, member: str = "a/b.json", limit: int = 100_000) -> bytes:
    (folder / "a.zip").write_bytes(content)
    return read_zip_member(folder / "a.zip", member, "archive", limit=limit)


def test_a_member_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, archive(b"{}")) == b"{}"


def test_a_member_that_unpacks_to_more_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a/b\.json has more than 100,000 bytes"):
        read(tmp_path, archive(bytes(50_000_000)))


def test_damage_is_told_wherever_it_is(tmp_path: Path) -> None:
    whole = archive(os.urandom(300))
    for position in range(0, len(whole), 3):
        damaged = whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
        try:
            read(tmp_path, damaged)  # a time of day may change unseen
        except UserError as error:
            assert "a.zip" in str(error)
    for kept in range(0, len(whole), 7):
        with pytest.raises(UserError, match=r"no archive with a/b\.json"):
            read(tmp_path, whole[:kept])


def test_a_missing_member_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no archive with c\.json"):
        read(tmp_path, archive(b""), member="c.json")
