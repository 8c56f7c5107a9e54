"""The web application of `comat view`: for this machine's own browser, and nobody else.

It answers only requests that name it by the loopback address (a foreign page could otherwise reach it under a name of
its own), and takes comparisons only as JSON from its own page.
"""

import asyncio
import sys
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comat_core.support.errors import UserError
from flows.failures import failure_line
from flows.view.site import ADVICE, Answer, Question, Site
from flows.view.turns import Turns

LONGEST_BODY = 16_384  # bytes
ARRIVAL_SECONDS = 30.0  # that a request may take
PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
OWN_POLICY = "frame-ancestors 'none'"  # of pages that bring the rest of their policy
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"connection": b"close",
}
FILES = {"view.css": "text/css", "view.js": "text/javascript"}
LEFT = Response(status_code=499)  # read by nobody


def make_app(site: Site, address: str) -> ASGIApp:
    """The application.

    Args:
        address: http://127.0.0.1:PORT, which it is reached under.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_pages(app, site)
    _add_comparison(app, Turns(site.compare))
    _add_refusals(app)
    return _Guard(app, address)


def _add_pages(app: FastAPI, site: Site) -> None:
    @app.get("/")
    def page() -> Response:
        return _page(site.page(), PAGE_POLICY)

    @app.get("/report")
    def report() -> Response:
        found = site.report()
        if found is None:
            raise HTTPException(404, "the store holds no report of this preset: run `comat run` first")
        return _page(found, OWN_POLICY)

    @app.get("/timeline")
    def timeline() -> Response:
        return _page(site.timeline(), OWN_POLICY)

    @app.get("/view.css")
    @app.get("/view.js")
    def file(request: Request) -> Response:
        name = request.url.path[1:]
        content = files("flows.view").joinpath("page", name).read_bytes()
        return Response(content, media_type=f"{FILES[name]}; charset=utf-8")


def _add_comparison(app: FastAPI, turns: Turns) -> None:
    @app.post("/compare")
    async def compare(request: Request) -> Response:
        try:
            question = await _question(request)
        except ClientDisconnect:
            return LEFT
        answer = await _unless_left(request, turns, question)
        return LEFT if answer is None else Response(answer.model_dump_json(), media_type="application/json")


async def _unless_left(request: Request, turns: Turns, question: Question) -> Answer | None:
    """Draw the answer; None as soon as its asker has left, who then has no turn any more."""
    drawing = asyncio.ensure_future(turns.draw(question))
    departure = asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait({drawing, departure}, return_when=asyncio.FIRST_COMPLETED)
        return drawing.result() if drawing.done() else None
    finally:
        drawing.cancel()
        departure.cancel()


async def _departure(request: Request) -> None:
    """Wait until the asker has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _question(request: Request) -> Question:
    """Read and check the request's body.

    Raises:
        UserError: it is no question.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UserError("the request is no JSON", "request", ADVICE)
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 10 and 0 < int(length) <= LONGEST_BODY):
        raise UserError(f"the request has no length up to {LONGEST_BODY} bytes", "request", ADVICE)
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            return Question.parse(await request.body())
    except TimeoutError as error:
        what = f"the request did not arrive within {ARRIVAL_SECONDS:.0f} s"
        raise UserError(what, "request", "send it at once") from error


def _add_refusals(app: FastAPI) -> None:
    """Every error is an answer of one line."""

    @app.exception_handler(UserError)
    def mistake(request: Request, error: UserError) -> Response:
        return PlainTextResponse(str(error), 400 if request.method == "POST" else 500)

    @app.exception_handler(HTTPException)
    def refusal(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
        message = "there is no such page" if error.detail == "Not Found" else error.detail
        return PlainTextResponse(message, error.status_code)

    @app.exception_handler(Exception)
    def failure(request: Request, error: Exception) -> Response:  # noqa: ARG001
        line = failure_line(error)
        print(f"comat: {line}", file=sys.stderr)
        return PlainTextResponse(line, 500)


def _page(page: str, policy: str) -> Response:
    return Response(page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})


class _Guard:
    """Refuses what came under another name, or from another site's page; sends every answer with the safe headers."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        self._address = address
        port = address.rpartition(":")[2]
        self._own_names = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

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
        except Exception:  # answered and told above: Starlette raises it again for a server's log
            return

    def _is_for_us(self, scope: Scope) -> bool:
        hosts, origins = (
            [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]
            for wanted in (b"host", b"origin")
        )
        named = bool(hosts) and self._own_names.issuperset(hosts)
        return named and self._own_names.issuperset(origin.removeprefix("http://") for origin in origins)
