"""Files on this machine's disk that exactly one of several callers creates."""

import os
import secrets
from pathlib import Path


def create_file(path: Path, content: bytes) -> None:
    """Create a file that nobody ever sees half of; FileExistsError if there is one of that name.

    A second name for a finished file is what cannot be given twice. On disks without such links the file is created
    exclusively and then filled; one that a full disk cuts short is taken away again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    finished = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        finished.write_bytes(content)
        os.link(finished, path)
        return
    except FileExistsError:
        raise
    except OSError:
        if path.is_symlink() or path.exists():
            raise FileExistsError(str(path)) from None
    finally:
        finished.unlink(missing_ok=True)
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise
