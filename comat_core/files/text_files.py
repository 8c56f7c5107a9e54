"""UTF-8 text, whole or line by line."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from comat_core.files.regular_files import MEBIBYTE, opened_file, read_file
from comat_core.support.errors import UserError

LONGEST_LINE = 16 * MEBIBYTE
"""Bytes. A longer one would fill the memory before anything could be said of it."""


def read_text(path: Path, kind: str, *, limit: int, advice: str = "save the file as UTF-8") -> str:
    """Read a whole text file of at most `limit` bytes.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    return decode_text(read_file(path, kind, limit=limit, advice=advice), kind, str(path), advice=advice)


def decode_text(content: bytes, kind: str, where: str, *, advice: str = "save the file as UTF-8") -> str:
    """Decode UTF-8, a byte order mark skipped.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"the {kind} is not UTF-8 text", f"{where}, byte {error.start}", advice) from error


def read_lines(path: Path, kind: str, *, advice: str = "save the file as UTF-8") -> Iterator[tuple[int, str]]:
    r"""Yield (number, line) of a text file as it is read, a byte order mark skipped.

    Only "\n" and "\r\n" end a line, which keeps its end as "\n": U+2028 and its like are part of a text.

    Raises:
        UserError: the file cannot be read, a line is not UTF-8, or is too long for any text.
    """
    with opened_file(path, kind, advice=advice) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > LONGEST_LINE:
                raise UserError(f"a line of more than {LONGEST_LINE:,} bytes is no line of text", where, advice)
            try:
                text = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode()
            except UnicodeDecodeError as error:
                raise UserError("the text is not UTF-8", where, advice) from error
            yield number, text.replace("\r\n", "\n")


def is_text(value: str) -> bool:
    """Whether it can be written down: escapes can name halves of characters, which no encoding knows."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
