"""How the pages' applications read requests, send pages and tell what went wrong: each error is one line."""

import asyncio
import sys
from collections.abc import Callable
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from comat_core.support.errors import UserError, first_problem
from flows.failures import failure_line

LONGEST_BODY = 16_384  # bytes
ARRIVAL_SECONDS = 30.0  # that a request may take
LEFT = Response(status_code=499)  # for an asker who has gone; read by nobody

Asked = TypeVar("Asked", bound=BaseModel)


def make_application() -> FastAPI:
    """An application without any page yet, whose errors are told."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_refusals(app)
    return app


def html_page(page: str, policy: str) -> Response:
    """A page with the content policy that it is shown under."""
    return Response(page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})


async def read_body(request: Request, parse: Callable[[bytes], Asked], advice: str) -> Asked:
    """Read and check a request's body of JSON.

    Args:
        advice: an example of what to send.

    Raises:
        UserError: it is none, is too long, or does not arrive in time.
        ClientDisconnect: the asker has gone.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UserError("the request is no JSON", "request", advice)
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 10 and 0 < int(length) <= LONGEST_BODY):
        raise UserError(f"the request has no length up to {LONGEST_BODY} bytes", "request", advice)
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            return parse(await request.body())
    except TimeoutError as error:
        what = f"the request did not arrive within {ARRIVAL_SECONDS:.0f} s"
        raise UserError(what, "request", "send it at once") from error


def parse_body(model: type[Asked], body: bytes, advice: str) -> Asked:
    """Read JSON into a model.

    Raises:
        UserError: it does not fit.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise UserError(first_problem(error, "the request"), "request", advice) from error


def _add_refusals(app: FastAPI) -> None:
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
