"""Signed statements on the wire."""

from pydantic import Field

from app.core.wire import Answer


class EnvelopeSignature(Answer):
    keyid: str = Field(description="SHA-256 of the public key; see /.well-known/lethe-signing-keys.json")
    sig: str = Field(description="base64")


class SignedEnvelope(Answer):
    """A DSSE envelope around an in-toto Statement v1. Keep it as it comes, to the byte."""

    payload: str = Field(description="The statement, base64")
    payloadType: str  # noqa: N815 (the name that DSSE gives it)
    signatures: list[EnvelopeSignature]
