"""Getting a source's files: from a local folder or its publisher, checked against the registry, kept in a cache."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import fsspec

from comat_core.files.paths import file_exists, user_path
from comat_core.support.credentials import without_credentials
from comat_core.support.errors import UserError
from data.downloading.checksums import difference, verify
from data.downloading.resumed_download import Expected, download
from data.downloading.timed_reading import Patience, TimedReader
from data.registry import PromptSet, Source, listed_checksums

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comat" / "sources"
ADVICE = "check the network, or point prompts.local_dir at a folder that holds the files"
REMOTE_PATIENCE = Patience(
    silence=300.0
)  # some file systems fetch several megabytes before they hand out the first byte


def fetch(source: Source, prompt_set: PromptSet, local_folder: str | None, cache: Path = DEFAULT_CACHE) -> list[Path]:
    """Return local paths of a set's files, checksums verified.

    Args:
        local_folder: folder or fsspec URL that holds the sources' files as <source>/<path>, where the path may lack
            leading folders of the publisher's; None downloads them.
        cache: local folder for downloads.

    Raises:
        UserError: a file is missing, cannot be had, or is not the one that the registry knows.
    """
    if prompt_set.listing is not None:
        files = [(path, Expected(checksum)) for path, checksum in listed_checksums(prompt_set)]
    else:
        assert prompt_set.path is not None, f"{source.name}/{prompt_set.name} has no file"
        files = [(prompt_set.path, Expected(prompt_set.checksum, prompt_set.size))]
    return [_fetch_file(source, prompt_set, path, expected, local_folder, cache) for path, expected in files]


def _fetch_file(
    source: Source, prompt_set: PromptSet, path: str, expected: Expected, local_folder: str | None, cache: Path
) -> Path:
    url = prompt_set.url or source.base_url + quote(path)
    if local_folder is None:
        target = cache / source.name / path
        if not target.exists():
            download(url, target, expected, ADVICE)
            return target
        verify(target, expected.checksum, remedy=f"remove it to download it again from {url}")
        return target
    folder = f"{local_folder.rstrip('/')}/{source.name}"
    if "://" in local_folder:
        target = cache / hashlib.sha256(f"{folder}/{path}".encode()).hexdigest()[:16] / Path(path).name
        found = _is_whole(target, expected.checksum) or any(
            _copy_remote(f"{folder}/{name}", target, expected) for name in _trailing_parts(path)
        )
    else:
        candidates = [user_path(folder) / name for name in _trailing_parts(path)]
        target = next((candidate for candidate in candidates if file_exists(candidate)), candidates[0])
        found = file_exists(target)
    if not found:
        what = f"the file of prompt set {source.name}/{prompt_set.name} is missing"
        advice = f"get it from {url}, with or without its leading folders"
        raise UserError(what, without_credentials(f"{folder}/{path}"), advice)
    verify(target, expected.checksum, remedy=f"get the original from {url}")
    return target


@dataclass(frozen=True)
class PublishedFile:
    """One file at an address of its own.

    Attributes:
        checksum: "sha256:" and its digest.
        remedy: what a user without the network may do.
    """

    url: str
    checksum: str
    remedy: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def cached(self) -> Path | None:
        """Where the cache has it; None if it does not."""
        target = DEFAULT_CACHE / self.name
        return target if target.exists() else None

    def fetch(self) -> Path:
        """Return its local path, downloaded unless the cache has it.

        Raises:
            UserError: it cannot be had, or is not the file that the checksum belongs to.
        """
        target = DEFAULT_CACHE / self.name
        if not target.exists():
            download(self.url, target, Expected(self.checksum), self.remedy)
        return target


def _is_whole(path: Path, checksum: str | None) -> bool:
    """Whether a copy of the right content is there already; without a checksum nobody can tell."""
    return checksum is not None and path.is_file() and difference(path, checksum) is None


def _trailing_parts(path: str) -> list[str]:
    """The publisher's path, then the same with one leading folder less each time."""
    parts = path.split("/")
    return ["/".join(parts[index:]) for index in range(len(parts))]


def _copy_remote(url: str, target: Path, expected: Expected) -> bool:
    """Copy a remote file; False when there is none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=target.name, dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file, TimedReader(partial(fsspec.open, url, "rb"), REMOTE_PATIENCE) as reader:
            reader.source()
            for block in reader.blocks():
                if file.tell() + len(block) > expected.largest:
                    raise OSError(f"it has more than the {expected.largest:,} bytes that the registry knows")
                file.write(block)
        Path(name).replace(target)
    except FileNotFoundError:
        return False
    except (ImportError, ValueError, OSError) as error:
        remedy = "give a local folder, or a URL whose file system is installed"
        what = without_credentials(f"cannot read the folder of prompt files: {error}")
        raise UserError(what, without_credentials(url), remedy) from error
    finally:
        Path(name).unlink(missing_ok=True)
    return True
