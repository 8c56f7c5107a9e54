"""A process that works for another one ends with it, even if that one is killed."""

import os
import threading
import time

PARENT_CHECK_SECONDS = 0.5


def end_with_parent() -> None:
    """End this process at once when its parent is gone.

    Whatever takes the parent's place must not find others at work in its folders.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
