"""The certificate of the service as an OpenDSR processor."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tests import self_signed

DOMAIN = "opendsr.lethe.example"


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of its key and of itself."""
    return self_signed.write_certificate(folder, DOMAIN, rsa.generate_private_key(65537, 1024))
