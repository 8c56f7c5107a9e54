"""Whether the hub answers, asked with little patience."""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

HUB = "https://huggingface.co"
SECONDS = 4.0


def hub_address() -> str:
    """Where models are fetched from: the hub, or the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT") or HUB


def is_told_to_be_offline() -> bool:
    """Whether the hub's library has been told to ask nobody."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def why_unreachable(address: str, seconds: float = SECONDS) -> str | None:
    """Ask an address, and say why it gave no answer; None if it gave any."""
    reasons: list[str | None] = []
    asking = threading.Thread(target=lambda: reasons.append(_ask(address, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)  # looking a name up has no time limit of its own
    return reasons[0] if reasons else f"no answer within {seconds:.0f} s"


def later(call: Callable[[], str | None]) -> Callable[[], str | None]:
    """Begin a call in the background; the function that is returned waits for it."""
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()

    def wait() -> str | None:
        thread.join()
        return found[0]

    return wait


def _ask(address: str, seconds: float) -> str | None:
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "comat-doctor"})
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return None
    except urllib.error.HTTPError:
        return None  # it has answered
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        return str(reason or error) or type(error).__name__
