"""Starts of the local server, one after the other."""

import fcntl
import threading
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows.prefect_start.start_lock import LOCK_FILE, one_start_at_a_time


def test_a_second_start_waits_for_the_first(tmp_path: Path) -> None:
    home, order = tmp_path / "home", []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with one_start_at_a_time(home, patience=60):
            order.append("second")

    with one_start_at_a_time(home, patience=60):
        waiting = threading.Thread(target=second)
        waiting.start()
        entered.wait(timeout=60)
        waiting.join(timeout=0.3)
        order.append("first")
    waiting.join(timeout=60)
    assert order == ["first", "second"]


def test_patience_ends_with_a_line(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(UserError, match="another run has been starting Prefect's server for too long"),
            one_start_at_a_time(tmp_path, patience=0.2),
        ):
            pass


@pytest.mark.parametrize("lies_below", [False, True])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, lies_below: bool) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home" if lies_below else tmp_path / "file"
    with (
        pytest.raises(UserError, match=r"Prefect cannot keep its records here.*set PREFECT_HOME to a folder"),
        one_start_at_a_time(home, patience=1),
    ):
        pass
