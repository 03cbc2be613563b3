"""A service with an OpenDSR certificate, and a controller that listens on loopback."""

from pathlib import Path

import pytest

from app.core.settings import Settings
from tests.opendsr.certificate import DOMAIN, write_certificate
from tests.webhooks.conftest import anyio_backend, app, client, courier, receiver, world
from tests.webhooks.receiver import Receiver

__all__ = ["DOMAIN", "anyio_backend", "app", "client", "courier", "receiver", "world"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("opendsr"))


@pytest.fixture
def settings(settings: Settings, receiver: Receiver, certificate: tuple[Path, Path]) -> Settings:
    return Settings(
        **settings.model_dump()
        | {
            "webhook_inner_receivers": f"127.0.0.1:{receiver.port}",
            "webhook_total_seconds": 2.0,
            "opendsr_key_file": str(certificate[0]),
            "opendsr_certificate_file": str(certificate[1]),
            "opendsr_domain": DOMAIN,
        }
    )
