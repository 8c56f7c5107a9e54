"""Drawing in turn: one answer at a time, in the order of asking, and none for somebody who has left."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from flows.pages.view.site import Answer, Question

Compare = Callable[[Question, Callable[[], bool]], Answer]
"""(question, whether its asker has left) -> answer; raises when the asker has."""


class Turns:
    """Gives each question its turn. For one event loop."""

    def __init__(self, compare: Compare) -> None:
        self._compare = compare
        self._turn = asyncio.Lock()

    async def draw(self, question: Question) -> Answer:
        """Wait for the turn, then draw in a thread. Cancelled, it gives the turn on once that thread has stopped."""
        async with self._turn:
            left = threading.Event()
            drawing = _in_thread(lambda: self._compare(question, left.is_set))
            try:
                return await asyncio.shield(drawing)
            except asyncio.CancelledError:
                left.set()
                await asyncio.wait({drawing})
                raise


def _in_thread(call: Callable[[], Answer]) -> "asyncio.Future[Answer]":
    """Run a call in a thread that nothing waits for when the program ends, unlike those of an executor."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
            future.exception()  # whoever has left does not ask for it
        else:
            assert answer is not None
            future.set_result(answer)

    def run() -> None:
        answer, failure = None, None
        try:
            answer = call()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=run, daemon=True).start()
    return future
