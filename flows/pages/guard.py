"""Who may talk to a page, and what every answer says to the browser."""

from collections.abc import Collection

from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"connection": b"close",
}
LOOPBACK_NAMES = ("127.0.0.1", "localhost")
SCHEMES = ("http://", "https://")


class Guard:
    """Refuses what came under another name, or from another site's page; sends every answer with the safe headers."""

    def __init__(self, app: ASGIApp, address: str, names: Collection[str]) -> None:
        """Stand before an application.

        Args:
            address: that the page is reached under, for whom it refuses.
            names: HOST:PORT, in small letters, that requests may come under.
        """
        self._app = app
        self._address = address
        self._own_names = frozenset(names)
        self._own_origins = frozenset(scheme + name for scheme in SCHEMES for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
            await send(message)

        if not self._is_for_us(scope):
            refusal = PlainTextResponse(f"this page is {self._address} alone", 403)
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception:  # answered and told by the application: Starlette raises it again for a server's log
            return

    def _is_for_us(self, scope: Scope) -> bool:
        hosts, origins = (
            [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]
            for wanted in (b"host", b"origin")
        )
        return bool(hosts) and self._own_names.issuperset(hosts) and self._own_origins.issuperset(origins)


def loopback_names(port: int) -> set[str]:
    """The names that this machine's own browser may use."""
    return {f"{name}:{port}" for name in LOOPBACK_NAMES}
