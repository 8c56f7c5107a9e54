"""Which failures another attempt may mend: those of machines and networks, not those of an input or of the program."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.tasks import Task

from comat_core.support.errors import UserError

REPEATED = (
    UserError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the same input gives every time: a prompt that breaks a parser breaks it again."""


def is_worth_retrying(task: Task[..., Any], run: Any, state: State[Any]) -> bool:  # noqa: ARG001  (the engine's signature)
    """Whether a task that failed may succeed the next time."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, OSError) or not isinstance(failure, REPEATED)  # some libraries' network errors are both
