"""The HTTP server of `comat study serve`, and the links that it prints."""

from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from comat_core.support.errors import UserError
from flows.pages.guard import loopback_names
from flows.pages.server import LOOPBACK, PageServer
from flows.pages.study.app import make_app
from flows.pages.study.site import StudySite
from stages.studies.preference.answers import AnswerBook
from stages.studies.preference.folder import read_study
from stages.studies.preference.raters import raters_up_to

ANY_HOST = ("0.0.0.0", "")


class StudyServer(PageServer):
    """Serves one study until it is interrupted. The caller holds the study (`serving_alone`).

    Raises:
        OSError: the port is taken, or the host is none of this machine's addresses.
        UserError: a file of the study is damaged, or the links would lead nowhere.
    """

    def __init__(self, folder: Path, raters: int, port: int, host: str = LOOPBACK, address: str | None = None) -> None:
        """Read the study, and take the port.

        Args:
            raters: how many are to have links.
            address: that raters reach the server under, where that is not its own.
        """
        if host in ANY_HOST and address is None:
            raise UserError("links need an address that raters can reach", f"--host {host}", "give --address URL")
        self._given = address and checked_address(address)
        self._host = host
        study = read_study(folder)
        tokens = raters_up_to(folder, raters)
        self._tokens = sorted(tokens, key=lambda token: tokens[token])
        site = StudySite(folder, study, tokens, AnswerBook(folder, study, sorted(tokens.values())))

        def app_on(chosen: int) -> ASGIApp:
            address = self._address_on(chosen)
            return make_app(site, address, {urlsplit(address).netloc.lower(), *loopback_names(chosen)})

        super().__init__(port, app_on, host)

    def __enter__(self) -> "StudyServer":
        return self

    def links(self) -> list[str]:
        """The raters' links, in the order of their numbers."""
        return [f"{self._address_on(self.port)}/{token}/" for token in self._tokens]

    def _address_on(self, port: int) -> str:
        return self._given or f"http://{self._host}:{port}"


def checked_address(address: str) -> str:
    """An address as links begin with it.

    Raises:
        UserError: it is none.
    """
    try:
        parts = urlsplit(address)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        is_plain = False
    else:
        is_plain = is_plain and parts.path in ("", "/") and parts.username is None and address.isascii()
    if not is_plain:
        raise UserError(f"{address} is no address", "--address", "write it as https://study.example.org")
    return f"{parts.scheme}://{parts.netloc}"
