"""Removing an artifact's own files and nothing else: a store may lie in a folder that holds other things too."""

from collections.abc import Iterator

from stages.store.artifact_writer import names_of_part
from stages.store.artifacts import CHECKSUMS, LARGEST_MANIFEST, MANIFEST, PARTS, Manifest
from stages.store.filesystem import PARTIAL, WORKING, Folder

OWN_FOLDERS = (CHECKSUMS, PARTS, f"{PARTIAL}/", f"{WORKING}/")
BEGUN = ".begun_from"


def own_files(folder: Folder) -> dict[str, int]:
    """Name -> bytes of the files in an artifact's folder that a stage wrote.

    They are what the manifest, the checksums and the parts name, and what the store keeps about them.
    """
    sizes = folder.sizes()
    named = {MANIFEST, BEGUN, *_named_by_manifest(folder), *_named_by_checksums(sizes), *_named_by_parts(folder, sizes)}
    return {name: size for name, size in sizes.items() if name in named or name.startswith(OWN_FOLDERS)}


def remove_artifact(folder: Folder) -> None:
    """Remove an artifact's own files and the folders that are empty then."""
    own = own_files(folder)
    # What says which files are ours goes last, so that a removal that is killed can be finished.
    for name in sorted(own, key=lambda name: (name.startswith((CHECKSUMS, PARTS)), name)):
        folder.remove(name)
    folder.remove_working_folder()
    folder.remove_empty_folders()


def _named_by_manifest(folder: Folder) -> Iterator[str]:
    try:
        yield from Manifest.model_validate_json(folder.read(MANIFEST, limit=LARGEST_MANIFEST)).files
    except (FileNotFoundError, ValueError, RecursionError):
        return


def _named_by_checksums(sizes: dict[str, int]) -> Iterator[str]:
    yield from (name.removeprefix(CHECKSUMS).removesuffix(".json") for name in sizes if name.startswith(CHECKSUMS))


def _named_by_parts(folder: Folder, sizes: dict[str, int]) -> Iterator[str]:
    parts = (name.removeprefix(PARTS).removesuffix(".json") for name in sizes if name.startswith(PARTS))
    for part in parts:
        yield from names_of_part(folder, part) or ()
