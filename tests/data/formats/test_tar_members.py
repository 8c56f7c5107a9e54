"""Tar archives: every member or one line, whatever a header says."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.formats import tar_members
from data.formats.tar_members import opened_tar

FILES = {f"{number:03}.txt": f"caption {number}".encode() * 50 for number in range(4)}


def archive(*, mode: str = "w", kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=kind) as file:  # type: ignore[call-overload]
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        file.addfile(_of_type("folder", tarfile.DIRTYPE))
        file.addfile(_of_type("link", tarfile.SYMTYPE))
    return buffer.getvalue()


def _of_type(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def contents(folder: Path, content: bytes) -> dict[str, bytes]:
    path = folder / "a.tar"
    path.write_bytes(content)
    with opened_tar(path) as opened:
        return {member.name: opened.read(member) for member in opened.members()}


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(UserError, match=r"the tar file cannot be read: .*a\.tar") as caught:
        contents(folder, content)
    return str(caught.value)


def changed(content: bytes, position: int, to: bytes, *, checksum_of: int | None = None) -> bytes:
    """Other bytes at a position, and the checksum of the header that begins at `checksum_of` made right again."""
    changed = bytearray(content)
    changed[position : position + len(to)] = to
    if checksum_of is not None:
        header = changed[checksum_of : checksum_of + 512]
        header[148:156] = b" " * 8
        changed[checksum_of + 148 : checksum_of + 156] = f"{sum(header):06o}\0 ".encode()
    return bytes(changed)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_regular_files_of_any_archive_are_read(tmp_path: Path, mode: str) -> None:
    assert contents(tmp_path, archive(mode=mode)) == FILES


def test_an_archive_without_its_empty_end_is_whole(tmp_path: Path) -> None:
    assert contents(tmp_path, archive().rstrip(b"\0").ljust(512 * 14, b"\0")) == FILES


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = archive()
    second = content.index(b"001.txt")
    assert f"the header at byte {second:,} is damaged" in refusal(tmp_path, changed(content, second + 5, b"?"))


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 1500, 1700, 3000])
def test_a_cut_archive_is_told(tmp_path: Path, kept: int) -> None:
    refusal(tmp_path, archive()[:kept])


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_cut_or_damaged_stream_is_told(tmp_path: Path, mode: str) -> None:
    content = archive(mode=mode)
    refusal(tmp_path, content[: len(content) // 2])
    refusal(tmp_path, content[:20] + bytes(60) + content[80:])


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 11 + b"\x00",  # -256: back to the header itself, without end
        b"\xff" * 10 + b"\xf0\x00",
        b"\x80" + b"\x7f" * 11,  # 2**87 and more
        b"77777777777\0",  # 8 GiB
    ],
)
def test_a_size_that_no_member_has_ends_in_one_line(tmp_path: Path, size: bytes) -> None:
    content = archive()
    second = content.index(b"001.txt")
    refusal(tmp_path, changed(content, second + 124, size, checksum_of=second))


def test_a_header_that_says_it_has_gigabytes_is_not_read(tmp_path: Path) -> None:
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 2**33
    stream = gzip.compress(long_name.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    for content in (stream, gzip.decompress(stream)):
        assert "a header of 8,589,934,592 bytes" in refusal(tmp_path, content)


def test_a_compressed_archive_is_not_followed_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "LARGEST_UNPACKED", 2000)
    assert contents(tmp_path, archive()) == FILES
    assert "or 2,000 bytes" in refusal(tmp_path, archive(mode="w:gz"))


def test_a_member_that_is_too_large_is_told_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "LARGEST_MEMBER", 400)
    (tmp_path / "a.tar").write_bytes(archive())
    with opened_tar(tmp_path / "a.tar") as opened:
        members = opened.members()
        with pytest.raises(UserError, match=r"a member of 450 bytes, more than 400 \(.*a\.tar, '000\.txt'\)"):
            opened.read(members[0])


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(UserError, match="the tar file cannot be read: it is a pipe"), opened_tar(tmp_path / "pipe.tar"):
        pass
    refusal(tmp_path, b"no archive" * 100)
    refusal(tmp_path, b"\x1f\x8b no gzip")


def test_errors_of_whoever_reads_are_not_called_damage(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive())
    with pytest.raises(OSError, match="mine"), opened_tar(tmp_path / "a.tar"):
        raise OSError("mine")
