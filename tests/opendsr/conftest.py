"""A service with an OpenDSR certificate, and a controller that listens on loopback."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from app.core.settings import Settings
from tests.webhooks.conftest import anyio_backend, app, client, courier, receiver, world
from tests.webhooks.receiver import Receiver

__all__ = ["anyio_backend", "app", "client", "courier", "receiver", "world"]

DOMAIN = "opendsr.lethe.example"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("opendsr")
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


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
