"""Models of the Hugging Face hub: what the local cache holds of them, and fetching them."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from comat_core.support.errors import UserError, first_line
from stages.models.folder_files import files_below

PIPELINE_INDEX = "model_index.json"
MODEL_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors", "diffusion_pytorch_model*.safetensors"]
OTHER_FORMATS = ["*.fp16*", "*non_ema*", "*onnx*", "*openvino*", "*flax*"]
HALF_PRECISION = ["*.fp16*.safetensors", "*.safetensors.index.fp16.json"]
"""Taken where there is nothing else."""
PICKLED_WEIGHTS = "pytorch_model.bin"
"""What a few older models have instead of safetensors; transformers reads it without unpickling code."""


class Presence(StrEnum):
    """What the local cache holds of a model."""

    CACHED = "cached"
    PARTLY = "partly cached"
    MISSING = "not cached"


def fetch_file(repository: str, file: str, revision: str | None) -> Path:
    """Return the local path of one file of a hub repository, downloaded unless the cache has it.

    Raises:
        UserError: the hub cannot be reached, or has no such file.
    """
    from huggingface_hub import hf_hub_download

    with _hub_errors_told(f"{repository}/{file}", revision):
        return Path(hf_hub_download(repository, file, revision=revision))


def fetch_folder(repository: str, revision: str | None) -> Path:
    """Return the local folder of a hub model, with what is missing of it downloaded.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    with _hub_errors_told(repository, revision):
        folder = _fetch(repository, revision)
        if _has_safetensors(folder):
            return folder
        try:
            return fetch_file(repository, PICKLED_WEIGHTS, revision).parent
        except UserError:
            from huggingface_hub import snapshot_download

            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=HALF_PRECISION))
            if _has_safetensors(folder):
                return folder
            raise


def push_folder(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder to a hub repository, made if there is none, and return its address.

    Raises:
        UserError: the hub cannot be reached, or the account may not write there.
    """
    from huggingface_hub import HfApi

    try:
        address = HfApi().create_repo(repository, private=private, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder)
    except (OSError, ValueError, _http_error()) as error:
        advice = "check the connection, the name, and the account (`hf auth login`)"
        raise UserError(f"cannot push to the hub: {first_line(error)}", repository, advice) from error
    return str(address)


def look_up(repository: str, file: str | None, revision: str | None) -> tuple[Presence, int]:
    """Say what the cache holds of a model, and how many bytes that takes. Nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    if file is not None:
        path = try_to_load_from_cache(repository, file, revision=revision)
        return (Presence.CACHED, Path(path).stat().st_size) if isinstance(path, str) else (Presence.MISSING, 0)
    folder, presence = _find(repository, revision)
    return presence, 0 if folder is None else sum(path.stat().st_size for path in files_below(folder))


def cached_folder(repository: str, revision: str | None) -> Path | None:
    """The local folder of a hub model that has all files there; None if some are missing. Nothing is downloaded."""
    folder, presence = _find(repository, revision)
    return folder if presence is Presence.CACHED else None


def _find(repository: str, revision: str | None) -> tuple[Path | None, Presence]:
    from huggingface_hub.errors import IncompleteSnapshotError

    try:
        return _fetch(repository, revision, local_files_only=True), Presence.CACHED
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path), Presence.PARTLY
    except OSError:
        return None, Presence.MISSING


def _has_safetensors(folder: Path) -> bool:
    return any(file.suffix == ".safetensors" for file in files_below(folder))


def _fetch(repository: str, revision: str | None, **options: Any) -> Path:
    """Fetch a diffusers pipeline as its loader would, or else the files of a single model."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(repository, PIPELINE_INDEX, revision=revision, **options)
    except EntryNotFoundError:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=MODEL_FILES, ignore_patterns=OTHER_FORMATS, **options
            )
        )
    from comat_core.backbones.checkpoints.pipeline_index import left_out_of
    from comat_core.backbones.checkpoints.pipeline_loading import fetch_pipeline, index_of

    return fetch_pipeline(repository, revision, left_out_of(index_of(repository, revision, **options)), **options)


@contextmanager
def _hub_errors_told(what: str, revision: str | None) -> Iterator[None]:
    """Turn what the hub's library raises into one line."""
    try:
        yield
    except (OSError, ValueError, _http_error()) as error:
        raise UserError(
            f"cannot fetch the model: {first_line(error)}",
            f"{what}@{revision or 'main'}",
            "check the connection to the hub, or give a local path in the model's place",
        ) from error


def _http_error() -> type[Exception]:
    """What the hub's library raises when there is no connection: an error of whichever HTTP client it is built on."""
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    return HTTPError
