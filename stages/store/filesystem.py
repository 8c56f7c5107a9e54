"""One folder on any file system that fsspec knows, with the few operations the store needs."""

import errno
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

from comat_core.files.regular_files import NotAFileError, TooLargeError, open_regular_file, read_regular_file
from comat_core.support.errors import UserError
from stages.store.exclusive_files import create_file
from stages.store.file_names import fitting_name
from stages.store.local_disk import check_folder, disk_errors_told

PARTIAL = ".partial"
WORKING = ".working"
BLOCK_BYTES = 4 * 2**20


_NO_FILE_AT_ALL = {errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR}
"""A loop of links, a socket, an impossible name."""


class NoPlainFileError(FileNotFoundError):
    """There is something of that name, and it is no file that could be read: a pipe, a device, a folder, too long."""


class Folder:
    """A folder given by its URL. Names are paths inside it, with forward slashes.

    Raises:
        UserError: no such file system, its driver is not installed, it cannot be reached, or the URL holds a password.
    """

    def __init__(self, url: str) -> None:
        _refuse_password(url)
        with store_errors_told(url):
            try:
                self.fs, self.path = fsspec.core.url_to_fs(url)
            except ImportError as error:
                advice = "install the driver (pip install comat-pipeline[s3] for s3://)"
                raise UserError(f"the driver for this store is missing: {error}", f"store {url}", advice) from error
        _forget_listings(self.fs)
        self.url = self.fs.unstrip_protocol(self.path)

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.url}/{name}")

    @cached_property
    def local(self) -> Path | None:
        """The folder on this machine's disk, or None when it is elsewhere."""
        return Path(self.path) if isinstance(self.fs, LocalFileSystem) else None

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The content of a file.

        Args:
            limit: bytes; what is longer counts as no plain file.

        Raises:
            FileNotFoundError: it is not there; NoPlainFileError if something else is.
            UserError: it is there and may not be read.
        """
        with self._read_errors(name):
            if self.local is not None:
                return _read_plain_file(self.local / name, limit)
            content = self.fs.cat_file(self._at(name))
        if limit is not None and len(content) > limit:
            raise NoPlainFileError(self._at(name))
        return content

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a file, `BLOCK_BYTES` at a time: no more of it is ever in memory. Raises what `read` does."""
        with self._read_errors(name):
            if self.local is not None:
                yield from _plain_blocks(self.local / name)
                return
            where = self._at(name)
            for start in range(0, self.fs.size(where) or 0, BLOCK_BYTES):
                yield self.fs.cat_file(where, start=start, end=start + BLOCK_BYTES)

    def has(self, name: str) -> bool:
        with self._read_errors(name):
            return self.fs.lexists(self._at(name))

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
                    create_file(self.local / name, content)
            except FileExistsError:
                return False
            return True

    def remove(self, name: str) -> None:
        with self._write_errors(name), suppress(FileNotFoundError):
            self.fs.rm_file(self._at(name))

    def remove_empty_folders(self) -> None:
        """Remove the folder's empty subfolders, and then the folder itself if it is empty. Object stores have none."""
        if self.local is None or not self.local.is_dir():
            return
        with self._write_errors(""):
            inner = sorted(path for path in self.local.rglob("*") if path.is_dir() and not path.is_symlink())
            for path in [*reversed(inner), self.local]:
                if not any(path.iterdir()):
                    path.rmdir()

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file below the folder, including hidden ones."""
        with self._read_errors(""):
            found = self.fs.find(self.path, detail=True)
        assert isinstance(found, dict)
        prefix = len(self.path.rstrip("/")) + 1
        return {path[prefix:]: int(entry["size"]) for path, entry in found.items()}

    def subfolders(self) -> list[str]:
        """Names of the folders directly inside, sorted."""
        try:
            with self._read_errors(""):
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

    def check_working_folder(self) -> None:
        """Make sure that there can be local folders for state in progress, which stages need only when they come to it.

        Raises:
            UserError: there cannot.
        """
        if self.local is None:
            check_folder("working folder", self._working_path(), "set XDG_CACHE_HOME to a folder that can be written")

    def remove_working_folder(self) -> None:
        shutil.rmtree(self._working_path(), ignore_errors=True)

    def _working_path(self) -> Path:
        if self.local is not None:
            return self.local / WORKING
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        return cache.joinpath("comat", *(fitting_name(part) for part in self.url.replace("://", "/").split("/")))

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
    def _read_errors(self, name: str) -> Iterator[None]:
        """What may not be read is a user's mistake; a network that fails is not, and whoever calls may try again."""
        try:
            yield
        except (NotADirectoryError, IsADirectoryError) as error:
            raise NoPlainFileError(self._at(name)) from error
        except PermissionError as error:
            advice = "check its permissions, or choose another store with --store"
            where = f"{self.url}/{name}".rstrip("/")
            raise UserError(f"the store cannot be read: {_reason(error)}", where, advice) from error

    @contextmanager
    def _write_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = "check its permissions and free space, or choose another store with --store"
            where = f"{self.url}/{name}".rstrip("/")
            raise UserError(f"the store cannot be written: {_reason(error)}", where, advice) from error


@contextmanager
def store_errors_told(url: str) -> Iterator[None]:
    """Around the first use of a store: whatever its driver raises there means that this is no store.

    Raises:
        UserError: the block failed.
    """
    try:
        yield
    except UserError:
        raise
    # Drivers connect when they are made or first used, and each fails with exceptions of its own.
    except Exception as error:
        advice = "give a folder or a URL that fsspec knows, such as file:///data/comat or s3://bucket/comat"
        raise UserError(f"no store can be used there: {_reason(error)}", f"store {url}", advice) from error


def _refuse_password(url: str) -> None:
    """A URL is shown, logged and kept in records, so that nothing secret may stand in it."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.partition("/")[0].rpartition("@")
    if separator and at and ":" in user:
        shown = f"{scheme}://{user.partition(':')[0]}:***@{place}"
        advice = "write the URL without it, and the password into fsspec's configuration or the driver's environment"
        raise UserError("the store's URL holds a password", f"store {shown}", advice)


def _read_plain_file(path: Path, limit: int | None) -> bytes:
    """Read a regular file; a pipe, a device or a folder is told at once instead of being waited for.

    Raises:
        NoPlainFileError: it is something else, a loop of links, or longer than the limit.
    """
    with _no_plain_file_told(path):
        return read_regular_file(path, limit)


def _plain_blocks(path: Path) -> Iterator[bytes]:
    """The content of a regular file, a block at a time. Raises what `_read_plain_file` does."""
    with _no_plain_file_told(path), open_regular_file(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


@contextmanager
def _no_plain_file_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, NotAFileError | TooLargeError) or error.errno in _NO_FILE_AT_ALL:
            raise NoPlainFileError(str(path)) from error
        raise


def _reason(error: Exception) -> str:
    """The first line of what an exception says."""
    said = (getattr(error, "strerror", None) or str(error)).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _forget_listings(fs: AbstractFileSystem) -> None:
    """Make a file system look anew whenever it is asked.

    Listings that it remembers know nothing of what other processes and machines have written or removed since; some
    file systems go by them even to read a file.
    """
    fs.dircache.use_listings_cache = False
    fs.dircache.clear()
