"""Folders that the user asked for: they appear only when they are complete, and nothing is overwritten."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comat_core.files.paths import folder_exists, path_exists
from comat_core.support.errors import UserError
from stages.store.local_disk import disk_errors_told


@contextmanager
def new_folder(output: Path, what: str) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `output` when the block ends without an error.

    Args:
        output: a folder that does not exist, or is empty.
        what: what is written, for the messages.

    Raises:
        UserError: the folder holds something, or cannot be written.
    """
    if path_exists(output) and (not folder_exists(output) or any(output.iterdir())):
        raise UserError("the output exists and is not an empty folder", str(output), "choose another --output")
    with disk_errors_told(what, output, "choose another --output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as unfinished:
            folder = Path(unfinished) / "new"
            folder.mkdir()
            yield folder
            folder.replace(output)
