"""One member of a zip archive, read into memory."""

import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Final

from comat_core.files.regular_files import open_regular_file, reading_errors_told
from comat_core.support.errors import UserError, first_line

DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    IndexError,
    OverflowError,
    RuntimeError,  # a password; NotImplementedError, a compression that nobody has, is one too
)
"""What the library raises for damaged archives."""


def read_zip_member(path: Path, member: str, kind: str, *, limit: int, advice: str = "download it again") -> bytes:
    """Read a member by its name.

    Args:
        kind: what the archive should be, for the message: "captions archive".
        limit: bytes of the member, unpacked.

    Raises:
        UserError: the archive cannot be read or is damaged, has no such member, or the member is larger.
    """
    with reading_errors_told(kind, str(path), advice):
        file = open_regular_file(path)
    with file:
        try:
            with zipfile.ZipFile(file) as archive, archive.open(member) as opened:
                content = opened.read(limit + 1)
        except KeyError as error:
            raise UserError(f"no {kind} with {member}", str(path), advice) from error
        except DAMAGE as error:
            raise UserError(f"no {kind} with {member}: {first_line(error)}", str(path), advice) from error
    if len(content) > limit:
        raise UserError(f"{member} has more than {limit:,} bytes", str(path), advice)
    return content
