"""The project's source is read once per test process, and not once for each method that is compared."""

from collections.abc import Iterator
from functools import cache

import pytest

from benchmarks.unlearning import source_code


@pytest.fixture(scope="session", autouse=True)
def source_read_once() -> Iterator[None]:
    """Here, for that module is part of what its digests cover: a change there makes all finished rows old."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_parse", "_imports", "_digest"):
            patch.setattr(source_code, name, cache(getattr(source_code, name)))
        yield
