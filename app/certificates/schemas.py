"""Certificates on the wire."""

import uuid

from app.core.envelope import SignedEnvelope
from app.core.wire import Answer


class CertificateBundle(Answer):
    """The certificates of a request on a data set: one per registered model that forgot."""

    certificates: list[SignedEnvelope]
    request: uuid.UUID
