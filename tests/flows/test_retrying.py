"""Which failures are tried again."""

import pytest
from prefect.states import Failed

from comat_core.support.errors import UserError
from flows.retrying import is_worth_retrying
from flows.tasks import build_shard

SURROGATE = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")


class LibraryError(FileNotFoundError, ValueError):
    """As the hub's client raises it when the network is down."""


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (UserError("a", "b", "c"), False),
        (SURROGATE, False),
        (IndexError("a prompt without tokens"), False),
        (TypeError("x"), False),
        (AssertionError("x"), False),
        (ZeroDivisionError("x"), False),
        (RuntimeError("CUDA error: an illegal memory access"), True),
        (ConnectionError("reset"), True),
        (TimeoutError("x"), True),
        (MemoryError(), True),
        (LibraryError("offline"), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_pass_is_tried_again(error: Exception, worth: bool) -> None:
    assert is_worth_retrying(build_shard, None, Failed(data=error)) is worth
