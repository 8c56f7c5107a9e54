"""A damaged file is read or told in one line: no trace, no hang, no flood, whatever it holds."""

import random
import traceback
import zlib
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watch import HangError, told

SEED = 20


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damage_is_read_or_told(target: Target, tmp_path: Path) -> None:
    assert told(lambda: target.read(target.write(tmp_path / "whole"))) is None, "the whole file is read"
    chance = random.Random(SEED * 2**32 + zlib.crc32(target.name.encode()))
    failures, refused = [], 0
    for number in range(target.count):
        content = chance.choice(target.mutations)(target.content, chance)
        path = target.write(tmp_path / str(number), content)
        try:
            refused += told(lambda path=path: target.read(path)) is not None
        except (Exception, HangError):
            failures.append(f"number {number}, {content[:300]!r}:\n{traceback.format_exc(limit=-4)}")
    assert not failures, f"{len(failures)} of {target.count} end in something else than one line:\n" + "\n".join(
        failures[:5]
    )
    assert refused, "some of the damage is noticed"


def test_two_thousand_files_are_tried() -> None:
    assert sum(target.count for target in TARGETS) >= 2000
