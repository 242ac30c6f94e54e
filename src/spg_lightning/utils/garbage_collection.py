"""When Python looks for unreachable cycles: neither during imports nor at exit, where it finds none and takes seconds."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Collect no garbage meanwhile. Importing torch and Lightning makes a million objects, all of which stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def skip_collection_at_exit() -> None:
    """Let this process end without searching everything it has imported for cycles. What is freed without a search still is."""
    atexit.register(gc.freeze)
