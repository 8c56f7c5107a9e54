"""Parameters that the flow does not have, in runs that were asked for over Prefect's API."""

from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort

from flows import unknown_parameters
from flows.unknown_parameters import end_run_with_unknown_parameters

pytestmark = pytest.mark.usefixtures("prefect_url")


def in_worker(monkeypatch: pytest.MonkeyPatch, asked_for: Any, parameters: dict[str, Any]) -> UUID:
    """Pretend to be the process that a worker has started for a run."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(asked_for, parameters=parameters)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
    return run.id


def state_of(run: UUID) -> State:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    assert state is not None
    return state


def test_the_run_ends_as_failed_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.comat import comat

    run = in_worker(monkeypatch, comat, {"preset": "miniature", "stor": "/x"})
    with pytest.raises(Abort, match="no parameter 'stor'"):
        end_run_with_unknown_parameters(comat)
    state = state_of(run)
    assert state.is_failed()
    assert state.message == (
        "the flow has no parameter 'stor' (flow comat): choose from: "
        "preset, only, refresh, store, settings, recorded_as, only_if_trained"
    )


def test_known_parameters_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.comat import comat

    run = in_worker(monkeypatch, comat, {"preset": "miniature", "only_if_trained": True})
    end_run_with_unknown_parameters(comat)
    assert not state_of(run).is_final()


def test_a_flow_of_the_users_that_uses_this_one_has_parameters_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.comat import comat

    @flow
    def nightly(folder: str) -> None:
        assert folder

    run = in_worker(monkeypatch, nightly, {"folder": "/data"})
    end_run_with_unknown_parameters(comat)
    assert not state_of(run).is_final()


def test_outside_a_worker_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.comat import comat

    def ask(**_: Any) -> None:
        raise AssertionError("the server was asked")

    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    monkeypatch.setattr(unknown_parameters, "get_client", ask)
    end_run_with_unknown_parameters(comat)
