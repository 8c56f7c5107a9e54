"""Parameters of a deployed run that the flow does not have.

Prefect's server takes them when a run is asked for over its API, whatever the deployment's schema says, and the
worker's process crashes over them with a trace before the flow begins. Here such a run ends as failed and says why.
"""

from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import Failed

from comat_core.support.errors import UserError


def end_run_with_unknown_parameters(flow: Flow[..., Any]) -> None:
    """End this process's flow run if it was asked for with a parameter that the flow does not have.

    To be called when the flow's module is loaded; does nothing outside a worker's process, or in one that runs another
    flow, which may use this one.

    Raises:
        Abort: to the engine, which then leaves the run as it is.
    """
    if flow_run.id is None or flow_run.flow_name != flow.name:
        return
    known = list(flow.parameters.properties)
    unknown = [name for name in flow_run.parameters if name not in known]
    if unknown:
        what = f"the flow has no parameter {', '.join(map(repr, unknown))}"
        line = str(UserError(what, f"flow {flow.name}", f"choose from: {', '.join(known)}"))
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Failed(message=line), force=True)
        raise Abort(line)
