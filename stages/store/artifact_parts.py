"""Some files of an artifact that may still lack others: what is made from one shard need not wait for the rest."""

from functools import cached_property

from stages.store.artifacts import CHECKSUMS, MANIFEST, Artifact, DamagedArtifactError, FileName, FileRecord, Manifest
from stages.store.filesystem import Folder


class ArtifactPart(Artifact):
    """Reference to some files of an artifact, which are read as those of any; each is there and whole, or told.

    Its manifest vouches for these files alone. Where the artifact has none yet, the checksums do that are written
    beside the files, and the manifest says nothing else. Equal parts have equal digests, finished or not.
    """

    names: tuple[FileName, ...]

    @cached_property
    def manifest(self) -> Manifest:
        """What vouches for the files.

        Raises:
            DamagedArtifactError: one is not there, or the artifact's manifest cannot be read.
        """
        whole = Artifact(stage=self.stage, key=self.key, url=self.url)
        if self.folder.has(MANIFEST):
            manifest = whole.manifest
            files = {name: manifest.files.get(name) for name in self.names}
        else:
            manifest = Manifest(
                stage=self.stage,
                key=self.key,
                version=0,
                config={},
                inputs={},
                files={},
                libraries={},
                seconds=0.0,
                finished_at="",
            )
            files = {name: written_record(self.folder, name) for name in self.names}
        for name, record in files.items():
            if record is None:
                raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "a file of the artifact is gone")
        return manifest.model_copy(update={"files": files})


def written_record(folder: Folder, name: str) -> FileRecord | None:
    """What was written beside a file once it was whole; None if that is not there, or says something else."""
    try:
        return FileRecord.model_validate_json(folder.read(f"{CHECKSUMS}{name}.json", limit=2**20))
    except (FileNotFoundError, ValueError):
        return None
