"""How a program that runs a deployment is told to stop: by Ctrl-C, SIGTERM or the end of its terminal."""

import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by the first stop signal.

    Of a class of its own: a KeyboardInterrupt that passes through a string being executed (as dataclasses
    and namedtuples do) makes CPython end the process by SIGINT, even when it was caught afterwards.
    """


def raise_on_stop_signals(hurry: Callable[[], None]) -> None:
    """Let the first signal interrupt whatever the main thread does; later ones call `hurry`, to speed up
    the stop that follows."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            hurry()
            return
        stopping = True
        raise Stopped

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
