"""Signatures of answers and callbacks (specification, section 4): SHA-256 with the certificate's key over the
very bytes of the body, in base64 in a header. The key is one of its own: it signs no certificate of a
deletion."""

import base64
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.core.settings import Settings


@dataclass(frozen=True)
class BodySigner:
    domain: str
    certificate: bytes  # PEM, with those of the authorities between, if the file has them
    key: RSAPrivateKey | EllipticCurvePrivateKey

    def headers(self, body: bytes) -> dict[str, str]:
        """Under the present name and, as section 10.1 wants it, under the former one."""
        signature = base64.b64encode(self._sign(body)).decode()
        return {
            "X-OpenDSR-Processor-Domain": self.domain,
            "X-OpenDSR-Signature": signature,
            "X-OpenGDPR-Processor-Domain": self.domain,
            "X-OpenGDPR-Signature": signature,
        }

    def _sign(self, body: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(body, PKCS1v15(), SHA256())
        return self.key.sign(body, ECDSA(SHA256()))


def domain_of(settings: Settings) -> str:
    return settings.opendsr_domain or urlsplit(settings.public_url).hostname or ""


def configured_signer(settings: Settings) -> BodySigner | None:
    """None when the operator has set no key. Raises `ValueError` when key and certificate do not belong
    together, and `OSError`."""
    if not settings.opendsr_key_file or not settings.opendsr_certificate_file:
        return None
    pem = Path(settings.opendsr_certificate_file).read_bytes()
    key = load_pem_private_key(Path(settings.opendsr_key_file).read_bytes(), None)
    if not isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey)):
        raise ValueError("LETHE_OPENDSR_KEY_FILE must hold an RSA or an ECDSA key.")
    certificate = x509.load_pem_x509_certificate(pem)
    if certificate.public_key() != key.public_key():
        raise ValueError("LETHE_OPENDSR_CERTIFICATE_FILE is not the certificate of LETHE_OPENDSR_KEY_FILE.")
    return BodySigner(domain_of(settings), pem, key)
