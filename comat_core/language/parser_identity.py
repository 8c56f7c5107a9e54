"""Which spaCy pipeline is installed, told without importing spaCy, which takes a second."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from comat_core.files.json_files import read_json
from comat_core.support.errors import UserError

KEYS = ("lang", "name", "version")


def parser_identity(name: str) -> dict[str, Any]:
    """What an installed pipeline is: its language, name and version.

    Raises:
        UserError: it is not installed, or its description is damaged.
    """
    package = find_spec(name) if name.isidentifier() else None
    if package is None or package.origin is None:
        raise not_installed(name)
    path = Path(package.origin).parent / "meta.json"
    if not path.is_file():
        raise not_installed(name)
    meta = read_json(path, "spaCy pipeline's meta.json", shape="object", advice="install the pipeline again")
    missing = [key for key in KEYS if not isinstance(meta.get(key), str)]
    if missing:
        raise UserError(f"the spaCy pipeline does not tell its {missing[0]}", str(path), "install it again")
    return {key: meta[key] for key in KEYS}


def not_installed(name: str) -> UserError:
    """The error for a pipeline that is not there."""
    how = f"install it: python -m spacy download {name} (never en-core-web-trf from PyPI: it is not spaCy's)"
    return UserError("the spaCy pipeline is not installed", name, how)
