"""From identities to instances: by the table that was uploaded for the data set, or by asking the operator's
resolver."""

import json
import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import InvalidInput, Unavailable
from app.core.hashing import UnknownHashKey, hash_identities
from app.core.instances import NamedInstances
from app.core.logging import get_logger
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.wire import InstanceId
from app.deletion_requests.targets import hash_key_changed
from app.opendsr.identities import Identity, looked_up
from app.outbound.addresses import read_listed
from app.outbound.sending import Limits, NotAnswered, Sender

AT_ONCE = 4
LIMITS = Limits(connect=3.0, read=10.0, total=10.0, most_bytes=16 * 1024 * 1024)

# One statement: whoever rotates keys brings data set and table under the new one at once.
_KNOWN = text("""
SELECT (
  SELECT string_agg(DISTINCT instance_hash, ''::bytea ORDER BY instance_hash) FROM identity_instances AS known
  WHERE known.dataset_id = dataset.id AND identity_hash = ANY(:hashes)
) AS packed, EXISTS (SELECT FROM identity_instances WHERE dataset_id = dataset.id) AS has_table
FROM datasets AS dataset
WHERE tenant_id = :tenant_id AND id = :dataset_id AND hash_key_id = :hash_key_id
""")


async def from_table(
    session: AsyncSession,
    settings: Settings,
    tenant_id: uuid.UUID,
    dataset: AnyRow,
    identities: Sequence[Identity],
) -> NamedInstances:
    """What any of the identities stands for, under the data set's key; maybe nothing. Raises `Conflict`
    (hash_key_changed) and `InvalidInput` (no_identity_table): without one nobody can be taken for unknown."""
    try:
        hashes = hash_identities(map(looked_up, identities), tenant_id, settings, dataset.hash_key_id)
    except UnknownHashKey:
        raise hash_key_changed() from None
    bound = {
        "tenant_id": tenant_id,
        "dataset_id": dataset.id,
        "hash_key_id": dataset.hash_key_id,
        "hashes": hashes,
    }
    row = (await session.execute(_KNOWN, bound)).one_or_none()
    if row is None:
        raise hash_key_changed()
    if not row.has_table:
        raise InvalidInput(
            f"No identities were uploaded for data set {dataset.name}, so that nobody can be found in it: "
            "send its table to POST /v1/datasets/{dataset}/identities first. A newer snapshot needs its own.",
            code="no_identity_table",
        )
    found = bytes(row.packed) if row.packed is not None else b""
    return NamedInstances(found, len(found) // 32)


class _Answer(BaseModel):
    """Members that we do not know are passed over."""

    instances: list[InstanceId]


class Resolver:
    """The operator's, asked by a few calls at a time: each holds a connection to the database meanwhile, and
    a slow resolver must not take those of all others."""

    def __init__(self) -> None:
        # Of whatever address: the operator named it, and no tenant.
        self._sender = Sender(read_listed("0.0.0.0/0, ::/0"))
        self._asking = 0

    async def ask(self, settings: Settings, dataset: str, identities: Sequence[Identity]) -> list[str]:
        """The instances that any of the identities stands for. Raises `Unavailable`."""
        if self._asking >= AT_ONCE:
            raise _unresolved("busy")
        self._asking += 1
        try:
            return await self._ask(settings, dataset, identities)
        finally:
            self._asking -= 1

    async def _ask(self, settings: Settings, dataset: str, identities: Sequence[Identity]) -> list[str]:
        asked = {
            "dataset": dataset,
            "identities": [
                {"identity_type": one.type, "identity_format": one.format, "identity_value": one.value}
                for one in identities
            ],
        }
        headers = {"content-type": "application/json", "accept": "application/json"}
        if settings.opendsr_resolver_token is not None:
            headers["authorization"] = f"Bearer {settings.opendsr_resolver_token.get_secret_value()}"
        try:
            answer = await self._sender.post(
                settings.opendsr_resolver_url, headers, json.dumps(asked).encode(), LIMITS
            )
        except NotAnswered as error:
            raise _unresolved(error.code) from None
        if answer.status != 200 or not answer.whole:
            raise _unresolved(f"http_{answer.status}")
        return _read(answer.body)


def _read(body: bytes) -> list[str]:
    """What is wrong with it is nothing that the controller could mend."""
    try:
        instances = _Answer.model_validate_json(body).instances
    except ValidationError:
        raise _unresolved("answer_unreadable") from None
    return list(dict.fromkeys(map(str, instances)))


def _unresolved(reason: str) -> Unavailable:
    get_logger(__name__).warning("resolver_failed", reason=reason)
    return Unavailable(
        "The service that knows which instances these identities stand for did not answer; nothing was "
        "recorded. Try again.",
        code="resolver_unavailable",
        headers={"Retry-After": "30"},
    )
