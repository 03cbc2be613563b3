"""Whether the storage takes bytes, without waiting for one that hangs."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from obstore.exceptions import BaseError

from app.core.storage import Storage

SECONDS = 2.0
_PROBE = "readiness-probe"

StorageState = Literal["ok", "unavailable", "slow"]


class StorageProbe:
    """One probe at a time, on a thread of its own: a storage that hangs costs this thread and no other."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-probe")
        self._under_way: Future[bool] | None = None

    async def look(self) -> StorageState:
        """`slow` when no answer came within two seconds; the next call waits for that same probe."""
        if self._under_way is None or self._under_way.done():
            self._under_way = self._thread.submit(self._writes)
        waiting = asyncio.wrap_future(self._under_way)
        done, _ = await asyncio.wait([waiting], timeout=SECONDS)
        if not done:
            return "slow"
        return "ok" if waiting.result() else "unavailable"

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _writes(self) -> bool:
        try:
            self._storage.put(_PROBE, [b"ok"])
        except (OSError, BaseError):
            return False
        return True
