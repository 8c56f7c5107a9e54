"""Prefect's own messages, which a command in a terminal does without."""

import os

QUIET_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}


def quiet_prefect() -> None:
    """Silence Prefect, unless the environment says otherwise. Call it before Prefect is imported."""
    for name, value in QUIET_PREFECT.items():
        os.environ.setdefault(name, value)
