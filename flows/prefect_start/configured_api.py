"""The Prefect API that the user has configured: asked before any work, so that its absence is one line."""

import httpx

from comat_core.support.errors import UserError
from flows.failures import without_credentials

ANSWER_SECONDS = 15.0


def check_configured_api(url: str) -> None:
    """Ask the configured API whether it is there, and whether it speaks this Prefect's language.

    Raises:
        UserError: it does not answer, refuses this user, or is something else or of another version.
    """
    problem = _problem()
    if problem is not None:
        reason = " ".join(str(problem.__cause__ or problem).split()) or type(problem).__name__
        what = without_credentials(f"the configured Prefect API cannot be used: {reason}")
        advice = "start that server or correct the setting; without it, comat starts a server of its own"
        raise UserError(what, f"PREFECT_API_URL = {without_credentials(url)}", advice)


def _problem() -> Exception | None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS}):
        try:
            with get_client(sync_client=True) as client:
                problem = client.api_healthcheck()
                if problem is None:
                    client.raise_for_api_version_mismatch()
                return problem
        except (RuntimeError, ValueError, TypeError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            return error
