"""Every family's tiny checkpoints, loaded once and copied for each test."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from comat_core.backbones.loading import load_backbone, wrap_pipeline
from comat_core.backbones.protocol import Backbone
from tests.comat_core.backbones.conformance.family_case import FamilyCase
from tests.tiny_families import TINY_FAMILIES


@pytest.fixture(scope="session")
def _saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Backbone]]:
    made: dict[str, tuple[Path, Backbone]] = {}

    def saved(kind: str) -> tuple[Path, Backbone]:
        if kind not in made:
            folder = TINY_FAMILIES[kind].save(tmp_path_factory.mktemp("families") / kind)
            made[kind] = (folder, load_backbone(folder))
        return made[kind]

    return saved


@pytest.fixture(params=TINY_FAMILIES)
def case(request: pytest.FixtureRequest, _saved: Callable[[str], tuple[Path, Backbone]]) -> FamilyCase:
    """A fresh copy of one family's model, with its folder."""
    folder, model = _saved(request.param)
    return FamilyCase(request.param, folder, wrap_pipeline(deepcopy(model.pipeline)), TINY_FAMILIES[request.param])
