"""The HTTP server of `comat view`, on the loopback address of this machine alone."""

from starlette.types import ASGIApp

from flows.pages.server import LOOPBACK, PageServer
from flows.pages.view.app import make_app
from flows.pages.view.site import Site


class ViewServer(PageServer):
    """Serves one site until it is interrupted.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int, site: Site) -> None:
        def app_on(chosen: int) -> ASGIApp:
            return make_app(site, f"http://{LOOPBACK}:{chosen}")

        super().__init__(port, app_on)

    def __enter__(self) -> "ViewServer":
        return self
