"""Raters' links: a token for each, and nothing else about them."""

import json
import secrets
from pathlib import Path

from comat_core.files.paths import path_exists
from comat_core.files.whole_files import write_whole
from stages.store.local_disk import disk_errors_told
from stages.studies.preference.folder import RATERS, Raters, read_part

TOKEN_BYTES = 16  # nobody guesses 128 random bits


def read_raters(folder: Path) -> dict[str, int]:
    """Token -> number of every rater who has a link; none before the study is served.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / RATERS
    return read_part(Raters, path, "list of raters").tokens if path_exists(path) else {}


def raters_up_to(folder: Path, count: int) -> dict[str, int]:
    """Token -> number of at least so many raters: those who have links keep them, the others get new ones.

    Raises:
        UserError: the file is damaged, or cannot be written.
    """
    tokens = read_raters(folder)
    new = range(max(tokens.values(), default=0) + 1, count + 1)
    if not new:
        return tokens
    tokens |= {secrets.token_urlsafe(TOKEN_BYTES): number for number in new}
    path = folder / RATERS
    with disk_errors_told("list of raters", path):
        write_whole(path, json.dumps({"tokens": tokens}, indent=1).encode() + b"\n")
        path.chmod(0o600)
    return tokens
