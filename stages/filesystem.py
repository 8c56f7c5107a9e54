"""One folder on any file system that fsspec knows, with the few operations the store needs."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from comat_core.errors import UserError
from stages.local_disk import disk_errors_told

PARTIAL = ".partial"
WORKING = ".working"


class Folder:
    """A folder given by its URL. Names are paths inside it, with forward slashes.

    Raises:
        UserError: no such file system, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            self.fs, self.path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            advice = "install the driver (pip install comat-pipeline[s3] for s3://)"
            raise UserError(f"the driver for this store is missing: {error}", f"store {url}", advice) from error
        except ValueError as error:
            advice = "give a folder or a URL that fsspec knows, such as file:///data/comat or s3://bucket/comat"
            raise UserError(f"unknown kind of store: {error}", f"store {url}", advice) from error
        _forget_listings(self.fs)
        self.url = self.fs.unstrip_protocol(self.path)

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.url}/{name}")

    @cached_property
    def local(self) -> Path | None:
        """The folder on this machine's disk, or None when it is elsewhere."""
        return Path(self.path) if isinstance(self.fs, LocalFileSystem) else None

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: it is not there.
            UserError: it is there and may not be read.
        """
        try:
            return self.fs.cat_file(self._at(name))
        except (NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(self._at(name)) from error
        except PermissionError as error:
            advice = "check its permissions, or choose another store with --store"
            raise UserError(f"the store cannot be read: {_reason(error)}", f"{self.url}/{name}", advice) from error

    def has(self, name: str) -> bool:
        return self.fs.exists(self._at(name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that nobody ever sees half of it.

        Raises:
            UserError: the store cannot be written, or is full.
        """
        with self._write_errors(name):
            if self.local is None:
                self.fs.pipe_file(self._at(name), content)  # object stores publish an upload when it is complete
            else:
                self._write_and_rename(self.local, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Create a file unless it exists. Of several callers at once exactly one gets True.

        Raises:
            UserError: the store cannot be written, or is full.
        """
        with self._write_errors(name):
            try:
                if self.local is None:
                    self.fs.pipe_file(self._at(name), content, mode="create")
                else:
                    _create_file(self.local / name, content)
            except FileExistsError:
                return False
            return True

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._at(name))

    def remove_all(self) -> None:
        """Remove the folder with everything in it."""
        if self.fs.exists(self.path):
            self.fs.rm(self.path, recursive=True)

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file below the folder, including hidden ones."""
        found = self.fs.find(self.path, detail=True)
        assert isinstance(found, dict)
        prefix = len(self.path.rstrip("/")) + 1
        return {path[prefix:]: int(entry["size"]) for path, entry in found.items()}

    def subfolders(self) -> list[str]:
        """Names of the folders directly inside, sorted."""
        try:
            entries = self.fs.ls(self.path, detail=True)
        except FileNotFoundError:  # not asked before: another process may have removed it just then
            return []
        return sorted(Path(entry["name"]).name for entry in entries if entry["type"] == "directory")

    def working_folder(self) -> Path:
        """A local folder for state in progress: inside this folder if it is local, else in the user's cache."""
        path = self._working_path()
        with disk_errors_told("working folder", path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def remove_working_folder(self) -> None:
        shutil.rmtree(self._working_path(), ignore_errors=True)

    def _working_path(self) -> Path:
        if self.local is not None:
            return self.local / WORKING
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        return cache / "comat" / self.url.replace("://", "/")

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def _write_and_rename(self, folder: Path, name: str, content: bytes) -> None:
        partial = folder / PARTIAL / secrets.token_hex(8)
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _write_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = "check its permissions and free space, or choose another store with --store"
            raise UserError(f"the store cannot be written: {_reason(error)}", f"{self.url}/{name}", advice) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _forget_listings(fs: AbstractFileSystem) -> None:
    """Make a file system look anew whenever it is asked.

    Listings that it remembers know nothing of what other processes and machines have written or removed since; some
    file systems go by them even to read a file.
    """
    fs.dircache.use_listings_cache = False
    fs.dircache.clear()


def _create_file(path: Path, content: bytes) -> None:
    """Create a file with exclusive creation; one that a full disk cuts short is taken away again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise
