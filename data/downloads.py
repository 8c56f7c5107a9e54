"""Getting a source's files: from a local folder or its publisher, checked against the registry, kept in a cache."""

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import fsspec

from comat_core.errors import UserError
from data.registry import PromptSet, Source, listed_checksums

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comat" / "sources"
BLOCK = 1 << 20
TIMEOUT = 60  # seconds without a byte


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
        files = listed_checksums(prompt_set)
    else:
        assert prompt_set.path is not None, f"{source.name}/{prompt_set.name} has no file"
        files = [(prompt_set.path, prompt_set.checksum)]
    return [_fetch_file(source, prompt_set, path, checksum, local_folder, cache) for path, checksum in files]


def _fetch_file(
    source: Source, prompt_set: PromptSet, path: str, checksum: str | None, local_folder: str | None, cache: Path
) -> Path:
    url = prompt_set.url or source.base_url + quote(path)
    if local_folder is None:
        target = cache / source.name / path
        if not target.exists():
            _download(url, target, checksum)
            return target
        verify(target, checksum, remedy=f"remove it to download it again from {url}")
        return target
    folder = f"{local_folder.rstrip('/')}/{source.name}"
    if "://" in local_folder:
        target = cache / hashlib.sha256(f"{folder}/{path}".encode()).hexdigest()[:16] / Path(path).name
        found = _is_whole(target, checksum) or any(
            _copy_remote(f"{folder}/{name}", target) for name in _trailing_parts(path)
        )
    else:
        candidates = [Path(folder).expanduser() / name for name in _trailing_parts(path)]
        target = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
        found = target.is_file()
    if not found:
        what = f"the file of prompt set {source.name}/{prompt_set.name} is missing"
        raise UserError(what, f"{folder}/{path}", f"get it from {url}, with or without its leading folders")
    verify(target, checksum, remedy=f"get the original from {url}")
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
            _download(self.url, target, self.checksum, self.remedy)
        return target


def verify(path: Path, checksum: str | None, remedy: str) -> None:
    """Compare a file with its checksum; a set without one passes.

    Raises:
        UserError: the file differs.
    """
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    found = file_digest(path, algorithm)
    if found != expected:
        short = f"{algorithm} {found[:12]}… instead of {expected[:12]}…"
        raise UserError(f"the file is not the one that the registry knows: {short}", str(path), remedy)


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; "git-blob" is SHA-1 over git's header and the content."""
    digest = hashlib.new("sha1" if algorithm == "git-blob" else algorithm)
    if algorithm == "git-blob":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _is_whole(path: Path, checksum: str | None) -> bool:
    """Whether a copy of the right content is there already; without a checksum nobody can tell."""
    if checksum is None or not path.is_file():
        return False
    algorithm, _, expected = checksum.partition(":")
    return file_digest(path, algorithm) == expected


def _download(
    url: str,
    target: Path,
    checksum: str | None,
    remedy: str = "check the network, or point prompts.local_dir at a folder that holds the files",
) -> None:
    """Download to a temporary name, verify, then rename: a cached file is always a whole one."""
    partial = _partial_name(target)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file, BLOCK)
        verify(partial, checksum, remedy="the publisher changed it; report this")
        partial.replace(target)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f"the download failed: {error}", url, remedy) from error
    finally:
        partial.unlink(missing_ok=True)


def _trailing_parts(path: str) -> list[str]:
    """The publisher's path, then the same with one leading folder less each time."""
    parts = path.split("/")
    return ["/".join(parts[index:]) for index in range(len(parts))]


def _copy_remote(url: str, target: Path) -> bool:
    """Copy a remote file; False when there is none."""
    partial = _partial_name(target)
    try:
        with fsspec.open(url, "rb") as remote, partial.open("wb") as file:
            shutil.copyfileobj(remote, file, BLOCK)  # type: ignore[arg-type]
        partial.replace(target)
    except FileNotFoundError:
        return False
    except (ImportError, ValueError, OSError) as error:
        remedy = "give a local folder, or a URL whose file system is installed"
        raise UserError(f"cannot read the folder of prompt files: {error}", url, remedy) from error
    finally:
        partial.unlink(missing_ok=True)
    return True


def _partial_name(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=target.name, dir=target.parent)
    os.close(handle)
    return Path(name)
