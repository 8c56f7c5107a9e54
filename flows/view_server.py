"""The HTTP server of `comat view`: for this machine's own browser, and nobody else.

It listens on the loopback address, answers only requests that name it by that address (a foreign page could otherwise
reach it under a name of its own), and takes comparisons only as JSON from its own page.
"""

import base64
import logging
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from comat_core.errors import UserError
from flows.view_page import render_page
from stages.comparison import Comparer, Comparison
from stages.pipeline import make_plan
from stages.presets import Preset
from stages.report.timeline import timeline_page
from stages.store import Store

logger = logging.getLogger("comat")

LOOPBACK = "127.0.0.1"
LONGEST_BODY = 16_384  # bytes
LONGEST_PROMPT = 1_000  # characters
PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILES = {"/view.css": "text/css", "/view.js": "text/javascript"}


class Question(BaseModel):
    """What the page asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class Answer(BaseModel):
    """A comparison as the page takes it; pictures are data URIs."""

    prompt: str
    seed: int
    seconds: float
    images: dict[str, str]
    words: list[dict[str, Any]]

    @classmethod
    def of(cls, comparison: Comparison) -> "Answer":
        images = {
            model: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
            for model, png in comparison.images.items()
        }
        return cls(
            prompt=comparison.prompt,
            seed=comparison.seed,
            seconds=round(comparison.seconds, 2),
            images=images,
            words=comparison.words,
        )


class Site:
    """What the pages are made of. Comparisons are drawn one at a time."""

    def __init__(self, preset: Preset, store: Store, comparer: Comparer) -> None:
        self._preset = preset
        self._store = store
        self._comparer = comparer
        self._drawing = threading.Lock()

    def page(self) -> str:
        return render_page(self._preset, self._store, LONGEST_PROMPT)

    def report(self) -> str | None:
        """The preset's report, if the store holds one."""
        step = make_plan(self._preset.sections).by_name.get("report")
        artifact = self._store.look_up(step.stage.name, step.key).artifact if step else None
        return artifact.read_bytes("report.html").decode() if artifact else None

    def timeline(self) -> str:
        return timeline_page(self._store, self._preset.name)

    def compare(self, question: Question) -> Answer:
        with self._drawing:
            return Answer.of(self._comparer.compare(question.prompt, question.seed))


class ViewServer(ThreadingHTTPServer):
    """Serves one site.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True  # Ctrl-C does not wait for a comparison

    def __init__(self, port: int, site: Site) -> None:
        super().__init__((LOOPBACK, port), ViewHandler)
        self.site = site

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}"

    @property
    def own_names(self) -> set[str]:
        """The Host headers of requests that mean this server."""
        return {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that left early."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class ViewHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: ViewServer  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 30  # seconds that a request may take to arrive
    server_version = "comat"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        site, path = self.server.site, self.path.partition("?")[0]
        if path in FILES:
            self._send(HTTPStatus.OK, files("flows").joinpath("page", path[1:]).read_bytes(), FILES[path])
        elif path == "/":
            self._send_page(site.page(), PAGE_POLICY)
        elif path == "/report":
            report = site.report()
            if report is None:
                self._refuse(HTTPStatus.NOT_FOUND, "the store holds no report of this preset: run `comat run` first")
            else:
                self._send_page(report, "frame-ancestors 'none'")  # the report brings its own policy
        elif path == "/timeline":
            self._send_page(site.timeline(), "frame-ancestors 'none'")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        if not self._is_for_us():
            return
        if self.path != "/compare":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        try:
            answer = self.server.site.compare(self._question())
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._send(HTTPStatus.OK, answer.model_dump_json().encode(), "application/json")

    def _is_for_us(self) -> bool:
        """Refuse what came under another name, or from another site's page."""
        names = self.server.own_names
        origin = self.headers.get("Origin")
        if self.headers.get("Host", "").lower() in names and (
            origin is None or origin.removeprefix("http://") in names
        ):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, f"this page is {self.server.address} alone")
        return False

    def _question(self) -> Question:
        """Read and check the request's body.

        Raises:
            UserError: it is no question.
        """
        where, advice = "request", 'send JSON: {"prompt": "a red circle", "seed": 0}'
        if self.headers.get_content_type() != "application/json":
            raise UserError("the request is no JSON", where, advice)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10 and 0 < int(length) <= LONGEST_BODY):
            raise UserError(f"the request has no length up to {LONGEST_BODY} bytes", where, advice)
        try:
            return Question.model_validate_json(self.rfile.read(int(length)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"])) or "the request"
            raise UserError(f"{name}: {first['msg']}", where, advice) from error

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, message.encode(), "text/plain")

    def _send_page(self, page: str, policy: str) -> None:
        self._send(HTTPStatus.OK, page.encode(), "text/html", {"Content-Security-Policy": policy})

    def _send(self, status: HTTPStatus, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (HEADERS | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("view: " + format, *args)
