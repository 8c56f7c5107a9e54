"""An HTTP server for pages of this machine, which ends at once when it is told to."""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from flows.pages.answers import ARRIVAL_SECONDS

LOOPBACK = "127.0.0.1"


class PageServer:
    """Serves one application until it is interrupted.

    Raises:
        OSError: the port is taken, or the host is none of this machine's addresses.
    """

    def __init__(self, port: int, make_app: Callable[[int], ASGIApp], host: str = LOOPBACK) -> None:
        """Take the port, any free one for 0.

        Args:
            make_app: gives the application for the port that it is served on.
        """
        self._socket = socket.create_server((host, port))
        config = uvicorn.Config(
            make_app(self.port),
            http=_ImpatientProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what fails is told in one line by the application
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=0,  # Ctrl-C does not wait for an answer
        )
        self._server = uvicorn.Server(config)
        # Before anybody is told of the pages: an interrupt would leave half a loop, and Python would tell that.
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._loop.close()

    @property
    def host(self) -> str:
        return self._socket.getsockname()[0]

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def serve_forever(self) -> None:
        serving = self._server.serve(sockets=[self._socket])
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(serving)
        finally:
            serving.close()  # an interrupt before the loop's first turn leaves it unawaited, which Python would tell

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread."""
        self._server.should_exit = True


class _ImpatientProtocol(H11Protocol):
    """Closes connections over which no request comes; each carries one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(ARRIVAL_SECONDS, self._close_if_unheard)

    def _close_if_unheard(self) -> None:
        if self.cycle is None:
            self.transport.close()
