"""Bytes from the event loop into a thread that writes them, with a bound on what waits in between."""

import asyncio
import queue
from collections.abc import Iterator

_END = object()


class Channel:
    """`send` on the event loop, iterate in the thread. At most `depth` blocks are in flight."""

    def __init__(self, depth: int = 16) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(depth)
        self._blocks: queue.SimpleQueue[bytes | BaseException | object] = queue.SimpleQueue()
        self._reader_gone = False

    async def send(self, block: bytes) -> None:
        """Wait for room. A block for a reader that has ended is dropped: the reader's error tells why."""
        await self._slots.acquire()
        if not self._reader_gone:
            self._blocks.put(block)

    def end(self) -> None:
        self._blocks.put(_END)

    def fail(self, error: BaseException) -> None:
        """Have the reader's iteration raise `error`."""
        self._blocks.put(error)

    def reader_ended(self) -> None:
        """On the event loop, once the thread is done, however it ended: senders need not wait any more."""
        self._reader_gone = True
        self._slots.release()

    @property
    def reader_gone(self) -> bool:
        return self._reader_gone

    def __iter__(self) -> Iterator[bytes]:
        while (block := self._blocks.get()) is not _END:
            if isinstance(block, BaseException):
                raise block
            assert isinstance(block, bytes)
            yield block
            self._loop.call_soon_threadsafe(self._slots.release)
