from tests.app.conftest import anyio_backend, served, world

__all__ = ["anyio_backend", "served", "world"]
