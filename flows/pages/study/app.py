"""The web application of `comat study serve`.

Everything lies below a rater's token, and without one there is nothing to get. Which image is whose is not known here:
the key is never read.
"""

import sys
from collections.abc import Collection
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from flows.pages.answers import LEFT, html_page, make_application, read_body
from flows.pages.guard import Guard
from flows.pages.study.site import BODY_ADVICE, StudySite, parse_answer

PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self';"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
FILES = {"study.css": "text/css", "study.js": "text/javascript"}
NOT_SAVED = "the answer could not be saved: please tell whoever runs the study"


def make_app(site: StudySite, address: str, names: Collection[str]) -> ASGIApp:
    """The application.

    Args:
        address: that the raters' links begin with.
        names: HOST:PORT that requests may come under.
    """
    app = make_application()
    _add_pages(app, site)
    _add_answers(app, site)
    return Guard(app, address, names)


def _add_pages(app: FastAPI, site: StudySite) -> None:
    @app.get("/{token}")
    @app.get("/{token}/")
    def page(token: str) -> Response:
        _rater(site, token)
        return html_page(site.page(token), PAGE_POLICY)

    @app.get("/{token}/state")
    def state(token: str) -> Response:
        return JSONResponse(site.state(_rater(site, token)))

    @app.get("/{token}/images/{name}")
    def image(token: str, name: str) -> Response:
        _rater(site, token)
        content = site.image(name)
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type="image/png")

    @app.get("/{token}/page/{name}")
    def file(token: str, name: str) -> Response:
        _rater(site, token)
        if name not in FILES:
            raise HTTPException(404)
        content = files("flows.pages.study").joinpath("page", name).read_bytes()
        return Response(content, media_type=f"{FILES[name]}; charset=utf-8")


def _add_answers(app: FastAPI, site: StudySite) -> None:
    @app.post("/{token}/answers")
    async def answers(token: str, request: Request) -> Response:
        rater = _rater(site, token)
        try:
            answer = await read_body(request, parse_answer, BODY_ADVICE)
        except ClientDisconnect:
            return LEFT
        try:
            answered = await run_in_threadpool(site.take, rater, answer)
        except OSError as error:
            print(f"comat: an answer could not be saved: {error}", file=sys.stderr)
            return PlainTextResponse(NOT_SAVED, 503)
        return JSONResponse({"answered": answered})


def _rater(site: StudySite, token: str) -> int:
    rater = site.rater(token)
    if rater is None:
        raise HTTPException(404)
    return rater
