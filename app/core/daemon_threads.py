"""Blocking calls beside an event loop, in threads that keep no process from ending.

The library's executors are waited for at exit: a name server that does not answer would hold up a shutdown.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(do: Callable[[], T]) -> T:
    """What `do` returns or raises. When this is cancelled, the thread goes on by itself, unheard."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        tell: Callable[[], None]
        try:
            result = do()
        except Exception as error:
            tell = _teller(done, error=error)
        else:
            tell = _teller(done, result=result)
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is there to be told
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, name=f"beside-{threading.current_thread().name}", daemon=True).start()
    return await done


def _teller(
    done: "asyncio.Future[T]", result: T | None = None, error: Exception | None = None
) -> Callable[[], None]:
    def tell() -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    return tell
