"""Loading spaCy pipelines."""

from typing import Any

import spacy
from spacy.language import Language
from spacy.util import get_model_meta, get_package_path

from comat_core.errors import UserError

UNUSED_COMPONENTS = ["ner", "entity_linker", "senter", "textcat"]
NEEDED_COMPONENTS = ("tagger", "parser", "lemmatizer")


def load_parser(name: str) -> Language:
    """Load an installed spaCy pipeline without the parts that entities do not need.

    Raises:
        UserError: it is not installed, or has no tagger, dependency parser or lemmatizer.
    """
    try:
        nlp = spacy.load(name, exclude=UNUSED_COMPONENTS)
    except OSError as error:
        raise _not_installed(name) from error
    missing = [component for component in NEEDED_COMPONENTS if component not in nlp.pipe_names]
    if missing:
        raise UserError(f"the spaCy pipeline has no {missing[0]}", name, "use a pipeline such as en_core_web_sm")
    return nlp


def parser_identity(name: str) -> dict[str, Any]:
    """What the pipeline is, without loading it: its name and version.

    Raises:
        UserError: it is not installed.
    """
    try:
        meta = get_model_meta(get_package_path(name))
    except (ImportError, OSError) as error:
        raise _not_installed(name) from error
    return {key: meta[key] for key in ("lang", "name", "version")}


def _not_installed(name: str) -> UserError:
    how = f"install it: python -m spacy download {name} (never en-core-web-trf from PyPI: it is not spaCy's)"
    return UserError("the spaCy pipeline is not installed", name, how)
