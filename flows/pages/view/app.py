"""The web application of `comat view`: for this machine's own browser, and nobody else.

It answers only requests that name it by the loopback address (a foreign page could otherwise reach it under a name of
its own), and takes comparisons only as JSON from its own page.
"""

import asyncio
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from flows.pages.answers import LEFT, html_page, make_application, read_body
from flows.pages.guard import Guard, loopback_names
from flows.pages.view.site import ADVICE, Answer, Question, Site
from flows.pages.view.turns import Turns

PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
OWN_POLICY = "frame-ancestors 'none'"  # of pages that bring the rest of their policy
FILES = {"view.css": "text/css", "view.js": "text/javascript"}


def make_app(site: Site, address: str) -> ASGIApp:
    """The application.

    Args:
        address: http://127.0.0.1:PORT, which it is reached under.
    """
    app = make_application()
    _add_pages(app, site)
    _add_comparison(app, Turns(site.compare))
    return Guard(app, address, loopback_names(int(address.rpartition(":")[2])))


def _add_pages(app: FastAPI, site: Site) -> None:
    @app.get("/")
    def page() -> Response:
        return html_page(site.page(), PAGE_POLICY)

    @app.get("/report")
    def report() -> Response:
        found = site.report()
        if found is None:
            raise HTTPException(404, "the store holds no report of this preset: run `comat run` first")
        return html_page(found, OWN_POLICY)

    @app.get("/timeline")
    def timeline() -> Response:
        return html_page(site.timeline(), OWN_POLICY)

    @app.get("/view.css")
    @app.get("/view.js")
    def file(request: Request) -> Response:
        name = request.url.path[1:]
        content = files("flows.pages.view").joinpath("page", name).read_bytes()
        return Response(content, media_type=f"{FILES[name]}; charset=utf-8")


def _add_comparison(app: FastAPI, turns: Turns) -> None:
    @app.post("/compare")
    async def compare(request: Request) -> Response:
        try:
            question = await read_body(request, Question.parse, ADVICE)
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
