"""Which instances an identity stands for, sent ahead per data set. Only keyed hashes of both are kept."""

import asyncio
from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field, model_validator

from app.auth.caller import Caller, ModelsWrite
from app.core.audit import audit_entry
from app.core.errors import InvalidInput, NotFound, TooLarge
from app.core.hashing import UnknownHashKey, hash_identities, hash_instances
from app.core.openapi import errors
from app.core.rows import AnyRow
from app.core.session import Session
from app.core.settings import Settings
from app.core.wire import Answer, InstanceId, Sent
from app.deletion_requests.targets import hash_key_changed
from app.opendsr import repository
from app.opendsr.identities import FORMATS, TYPES, Identity, identity, stored

router = APIRouter(prefix="/v1/datasets/{dataset}/identities", tags=["OpenDSR"])

Type = Annotated[str, Field(max_length=64, json_schema_extra={"enum": list(TYPES)})]
Format = Annotated[str, Field(max_length=64, json_schema_extra={"enum": list(FORMATS)})]


class IdentityRow(Sent):
    identity_type: Type
    identity_value: Annotated[str, Field(min_length=1, max_length=1024)]
    identity_format: Format = "raw"
    instances: list[InstanceId] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> Identity:
        return identity(self.identity_type, self.identity_format, self.identity_value)


class NewIdentities(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "identities": [
                    {
                        "identity_type": "email",
                        "identity_value": "johndoe@example.com",
                        "identity_format": "raw",
                        "instances": ["scan-0001", "scan-0002"],
                    }
                ]
            }
        }
    )

    identities: list[IdentityRow] = Field(min_length=1)


class IdentitiesAdded(Answer):
    added: int = Field(description="Entries that were not there; three per instance of a raw identity")


class IdentitiesRemoved(Answer):
    removed: int


@router.post("", responses=errors(400, 404, 409, 413, 422))
async def add_identities(
    request: Request, caller: ModelsWrite, session: Session, dataset: str, sent: NewIdentities
) -> IdentitiesAdded:
    """Add to the table. What is there already stays; sending it twice does no harm."""
    settings: Settings = request.app.state.settings
    found = await _dataset(session, caller, dataset)
    named = sum(len(row.instances) for row in sent.identities)
    if named > settings.max_instances_per_request:
        raise TooLarge(
            f"{named} instances were named; {settings.max_instances_per_request} are accepted at once.",
            code="too_many_instances",
            limit=settings.max_instances_per_request,
        )
    try:
        pairs, instances = await asyncio.to_thread(_hashed, sent, caller, settings, found.hash_key_id)
    except UnknownHashKey:
        raise hash_key_changed() from None
    if not await repository.hold_key(session, found):
        raise hash_key_changed()
    unknown = await repository.unknown_instances(session, found.id, instances)
    if unknown:
        raise InvalidInput(
            f"{unknown} of the instances are not in the data set.", code="unknown_instance", count=unknown
        )
    added = await repository.add_identities(session, caller.tenant_id, found.id, pairs)
    await _note(session, caller, "add", found, added=added)
    return IdentitiesAdded(added=added)


@router.delete("", responses=errors(404, 422))
async def remove_identities(caller: ModelsWrite, session: Session, dataset: str) -> IdentitiesRemoved:
    """Remove the data set's whole table."""
    found = await _dataset(session, caller, dataset)
    removed = await repository.clear_identities(session, caller.tenant_id, found.id)
    await _note(session, caller, "remove", found, removed=removed)
    return IdentitiesRemoved(removed=removed)


def _hashed(
    sent: NewIdentities, caller: Caller, settings: Settings, key_id: str
) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """(identity, instance) pairs, in the order of the primary key; and the instances, each once."""
    tenant_id = caller.tenant_id
    pairs: set[tuple[bytes, bytes]] = set()
    for row in sent.identities:
        instances = hash_instances([str(one) for one in row.instances], tenant_id, settings, key_id)
        names = hash_identities(stored(row.read()), tenant_id, settings, key_id)
        pairs |= {(name, instance) for name in names for instance in instances}
    return sorted(pairs), sorted({instance for _, instance in pairs})


async def _dataset(session: Session, caller: Caller, name: str) -> AnyRow:
    caller.require_all_models()
    found = await repository.dataset(session, caller.tenant_id, name)
    if found is None:
        raise NotFound("There is no such data set.", code="dataset_not_found")
    return found


async def _note(session: Session, caller: Caller, action: str, dataset: AnyRow, **data: int) -> None:
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            f"identities.{action}",
            dataset.id,
            caller.request_id,
            **data,
        )
    )
