"""The public keys that this service has signed with. For everybody: who checks a certificate has no key of
ours. What makes them trustworthy is that their ids are also known from elsewhere."""

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import select

from app.core.openapi import problems
from app.core.session import Session
from app.core.wire import Answer, Moment
from models import SigningKey

router = APIRouter(tags=["Certificates"])


class SigningKeyView(Answer):
    key_id: str = Field(description="SHA-256 of the key (DER, SubjectPublicKeyInfo), hexadecimal")
    algorithm: str = Field(
        description="ed25519: of certificates and audit checkpoints; ecdsa-p256: of the weights"
    )
    public_key: str = Field(description="PEM")
    first_used_at: Moment


class SigningKeys(Answer):
    data: list[SigningKeyView]


@router.get("/.well-known/lethe-signing-keys.json", responses=problems(422, 500, 503))
async def list_signing_keys(session: Session) -> SigningKeys:
    """Every key that has signed a certificate or a checkpoint, the newest first. Replaced keys stay, so
    that what they signed can still be checked."""
    rows = (
        await session.scalars(select(SigningKey).order_by(SigningKey.first_used_at.desc(), SigningKey.key_id))
    ).all()
    return SigningKeys(
        data=[
            SigningKeyView(
                key_id=row.key_id,
                algorithm=row.algorithm,
                public_key=row.public_key,
                first_used_at=row.first_used_at,
            )
            for row in rows
        ]
    )
