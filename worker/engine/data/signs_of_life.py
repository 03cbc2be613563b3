"""Reading a large data set takes long: readers show, file by file and block by block, that they do not hang.

A context variable and not a parameter, so that formats, those of operators too, are functions of a path.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[], None] | None] = ContextVar("listener", default=None)


def alive() -> None:
    """Called by readers now and then. Raises what the listener raises, to stop them."""
    listener = _listener.get()
    if listener is not None:
        listener()


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """Within, and in this thread, `listener` is called whenever a reader shows that it is alive."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
