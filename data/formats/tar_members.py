"""Members of tar archives, plain or compressed. Nothing is ever unpacked to the disk."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from comat_core.files.regular_files import MEBIBYTE, open_regular_file, reading_errors_told
from comat_core.support.errors import UserError, first_line

LARGEST_MEMBER: Final = 256 * MEBIBYTE
MOST_MEMBERS: Final = 2_000_000
LARGEST_UNPACKED: Final = 16 * 1024 * MEBIBYTE
"""Bytes up to which a compressed archive is followed."""

DAMAGE: Final = (
    tarfile.TarError,
    OSError,  # gzip's own error is one
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
)
"""What the library raises for damaged headers and cut streams."""


COMPRESSIONS: Final = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""First bytes of a compressed file -> what reads it."""


class TarArchive:
    """An archive that is open: see `opened_tar`."""

    def __init__(self, archive: tarfile.TarFile, where: str, advice: str, is_compressed: bool) -> None:
        self._archive = archive
        self._where = where
        self._advice = advice
        self._is_compressed = is_compressed

    def members(self) -> list[tarfile.TarInfo]:
        """The regular files in it, in their order.

        Raises:
            UserError: a header is damaged, also where the library would take it for the archive's end; a member is cut
                short; there are too many.
        """
        found, behind = [], -1
        with _damage_told(self._where, self._advice):
            while (member := self._archive.next()) is not None:
                end = self._archive.offset
                if end <= behind:  # a size below zero leads back to where the reading was
                    raise tarfile.ReadError("a member ends before it begins")
                behind = end
                if len(found) >= MOST_MEMBERS or (self._is_compressed and end > LARGEST_UNPACKED):
                    raise tarfile.ReadError(f"more than {MOST_MEMBERS:,} members, or {LARGEST_UNPACKED:,} bytes")
                if member.isreg() and not member.issparse():
                    found.append(member)
                self._archive.members.clear()  # type: ignore[attr-defined]  # the library would keep them all
            self._check_end()
        return found

    def read(self, member: tarfile.TarInfo) -> bytes:
        """The content of a member.

        Raises:
            UserError: it is larger than any image or text, cut short, or cannot be unpacked.
        """
        with _damage_told(f"{self._where}, {member.name!r}", self._advice):
            if not 0 <= member.size <= LARGEST_MEMBER:
                raise tarfile.ReadError(f"a member of {member.size:,} bytes, more than {LARGEST_MEMBER:,}")
            file = self._archive.extractfile(member)
            content = b"" if file is None else file.read()
            if len(content) != member.size:
                raise tarfile.ReadError("a member is cut short")
        return content

    def _check_end(self) -> None:
        """Where the listing has ended there is nothing, or an empty block."""
        file: Any = self._archive.fileobj
        file.seek(self._archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"the header at byte {self._archive.offset:,} is damaged")


@contextmanager
def opened_tar(path: Path, *, advice: str = "download it again") -> Iterator[TarArchive]:
    """Open a tar archive, plain or compressed, for the length of the block.

    Raises:
        UserError: it is missing, no regular file, or no tar archive.
    """
    with reading_errors_told("tar file", str(path), advice):
        file = open_regular_file(path)
    with file:
        with _damage_told(str(path), advice):
            unpacked = _unpacked(file)
            archive = tarfile.TarFile(fileobj=_BoundedReads(unpacked), mode="r")  # type: ignore[arg-type]
        with archive:
            yield TarArchive(archive, str(path), advice, unpacked is not file)


def _unpacked(file: BinaryIO) -> Any:
    """The file itself, or what it holds if it is compressed."""
    begin = file.read(8)
    file.seek(0)
    for magic, opener in COMPRESSIONS.items():
        if begin.startswith(magic):
            return opener(fileobj=file) if opener is gzip.GzipFile else opener(file)
    return file


@contextmanager
def _damage_told(where: str, advice: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise UserError(f"the tar file cannot be read: {first_line(error)}", where, advice) from error


class _BoundedReads:
    """A file of which nobody reads more at once than a member may have: headers say how long they are themselves."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_MEMBER + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()
