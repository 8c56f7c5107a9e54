"""Folders that the user asked for: they appear only when they are complete, and nothing is overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comat_core.files.whole_files import whole_folder
from comat_core.support.errors import UserError
from stages.store.local_disk import OUTPUT_ADVICE, disk_errors_told


@contextmanager
def new_folder(output: Path, what: str) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `output` when the block ends without an error.

    Args:
        output: a folder that does not exist, or is empty.
        what: what is written, for the messages.

    Raises:
        UserError: the folder holds something, is one that nothing can be put in the place of, or cannot be written.
    """
    with disk_errors_told(what, output, OUTPUT_ADVICE):
        place = output.resolve()
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UserError("the output exists and is not an empty folder", str(output), OUTPUT_ADVICE)
        if place.is_mount() or place == Path.cwd():
            raise UserError("the output is a folder in use", str(output), "name a new folder inside it")
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(place) as folder:
            yield folder
