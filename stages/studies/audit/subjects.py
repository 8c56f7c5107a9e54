"""What is audited: a pipeline, a LoRA or a folder of images, told by the word that names it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from comat_core.backbones.checkpoints.pipeline_index import INDEX_FILE
from comat_core.files.paths import folder_exists, path_exists, user_path
from comat_core.support.errors import UserError
from stages.images.image_manifests import find_manifest
from stages.images.other_generators import OtherGenerator
from stages.models.folder_files import files_below
from stages.models.hub import fetch_file
from stages.plan.config import DATA_SCHEME, HUB_ID, ModelReference

HUB_LORA: Final = "pytorch_lora_weights.safetensors"
"""What diffusers calls a LoRA's file, and so what is looked for in a repository of the hub."""
KINDS: Final = "a diffusers pipeline, a LoRA (safetensors), or a folder of images"


class Kind(StrEnum):
    """What a word names."""

    PIPELINE = "pipeline"
    LORA = "LoRA"
    FOLDER = "folder of images"


@dataclass(frozen=True)
class Subject:
    """Something that is audited, or what it is compared with."""

    kind: Kind
    name: str
    """For the report."""
    generator: OtherGenerator


@dataclass(frozen=True)
class Named:
    """A word of the command line, and what it names."""

    word: str
    kind: Kind

    @property
    def reference(self) -> ModelReference:
        """Of a local model the whole path: the preset that names it may be read from elsewhere."""
        path, _, revision = self.word.partition("@")
        if self._is_local:
            return ModelReference(path=str(user_path(self.word).absolute()))
        if path.startswith(DATA_SCHEME):
            return ModelReference(path=self.word)
        file = HUB_LORA if self.kind is Kind.LORA else None
        return ModelReference(path=path, revision=revision or None, file=file)

    @property
    def name(self) -> str:
        """A short one: the last part of a path, the whole id of a model on the hub."""
        if not self._is_local and not self.word.startswith(DATA_SCHEME):
            return self.word
        place = user_path(self.word).resolve() if self._is_local else Path(self.word)
        return place.name.removesuffix(".safetensors")

    @property
    def _is_local(self) -> bool:
        return not self.word.startswith(DATA_SCHEME) and path_exists(user_path(self.word))


def find_kind(word: str, option: str, *, has_base: bool) -> Kind:
    """Tell what a word names.

    Args:
        option: of the command line that it stands at, for messages.
        has_base: a base model is named too, so that what lies on the hub is its LoRA.

    Raises:
        UserError: there is nothing of that name, or nothing that can be audited.
    """
    if word.startswith(DATA_SCHEME):
        return Kind.PIPELINE
    place = user_path(word)
    if not path_exists(place):
        path, _, _ = word.partition("@")
        if not HUB_ID.fullmatch(path):
            raise UserError(f"there is nothing at {word}", option, f"give {KINDS}")
        return Kind.LORA if has_base else Kind.PIPELINE
    if not folder_exists(place):
        if place.suffix == ".safetensors":
            return Kind.LORA
        raise UserError(f"{word} is neither a folder nor a LoRA", option, f"give {KINDS}")
    if path_exists(place / INDEX_FILE):
        return Kind.PIPELINE
    if any(place.glob("*.safetensors")):
        return Kind.LORA
    if find_manifest(place) is not None or any(file.suffix.lower() == ".png" for file in files_below(place)):
        return Kind.FOLDER
    raise UserError(f"{word} holds no {INDEX_FILE}, no LoRA and no images", option, f"give {KINDS}")


def read_subjects(
    model: str, against: str | None, base: str | None, drawing: Mapping[str, Any]
) -> tuple[Subject, Subject | None]:
    """Find what is audited, and what it is compared with: of a LoRA its base, unless something else is named.

    Args:
        base: the model that LoRAs are for.
        drawing: settings of every pipeline that draws: precision, steps, guidance.

    Raises:
        UserError: something is missing, or does not go together.
    """
    named = Named(model, find_kind(model, "MODEL", has_base=base is not None))
    other = None
    if against is not None:
        other = Named(against, find_kind(against, "--against", has_base=False))
    found = [one for one in (named, other) if one is not None]
    if all(one.kind is not Kind.LORA for one in found) and base is not None:
        raise UserError(f"--base names a model, but {model} is a {named.kind}", "--base", "leave --base out")
    if any(one.kind is Kind.LORA for one in found) and base is None:
        raise UserError(f"{found[0].word} is a LoRA without a base", "--base", "name the model that it is for")
    below = None if base is None else Named(base, find_kind(base, "--base", has_base=False))
    if below is not None and below.kind is not Kind.PIPELINE:
        raise UserError(f"{base} is a {below.kind}, no pipeline", "--base", "name the pipeline that the LoRA is for")
    audited = _subject(named, below, drawing)
    compared = other if other is not None else below
    if compared is None:
        return audited, None
    reference = _subject(compared, below, drawing)
    same_name = replace(reference, name=f"{reference.name} (reference)")
    return audited, same_name if reference.name == audited.name else reference


def _subject(named: Named, base: Named | None, drawing: Mapping[str, Any]) -> Subject:
    reference = pinned(named.reference)
    if named.kind is Kind.FOLDER:
        return Subject(named.kind, named.name, OtherGenerator(folder=reference))
    if named.kind is Kind.PIPELINE:
        return Subject(named.kind, named.name, OtherGenerator(pipeline=reference, **drawing))
    assert base is not None
    generator = OtherGenerator(pipeline=pinned(base.reference), lora=reference, **drawing)
    return Subject(named.kind, named.name, generator)


def pinned(reference: ModelReference) -> ModelReference:
    """A hub's model by the commit that it is at, so that an audit says what it has measured.

    Raises:
        UserError: the hub cannot be reached and its cache lacks the model's index, or there is no such model.
    """
    if reference.local_path() is not None:
        return reference
    file = fetch_file(reference.path, reference.file or INDEX_FILE, reference.revision)
    folders = file.parts  # .../snapshots/<commit>/<file>
    return reference.model_copy(update={"revision": folders[folders.index("snapshots") + 1]})
