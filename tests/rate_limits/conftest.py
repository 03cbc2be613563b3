from tests.app.conftest import anyio_backend, app, client, world

__all__ = ["anyio_backend", "app", "client", "world"]
