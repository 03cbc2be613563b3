"""Looks at a version, kept in its history: rows that no role can change or remove."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.rows import AnyRow

_OF_VERSION = text("""
SELECT CAST(data ->> 'audit' AS uuid) AS id, created_at, data ->> 'digest' AS digest,
  data -> 'report' -> 'findings' AS findings
FROM events
WHERE tenant_id = :tenant_id AND subject_id = :version_id AND type = 'version.audited'
  AND (CAST(:after AS uuid) IS NULL OR CAST(data ->> 'audit' AS uuid) < :after)
ORDER BY CAST(data ->> 'audit' AS uuid) DESC LIMIT :limit
""")
_ONE = text("""
SELECT CAST(data ->> 'audit' AS uuid) AS id, created_at, data ->> 'digest' AS digest,
  data -> 'report' -> 'findings' AS findings, data -> 'report' AS report
FROM events
WHERE tenant_id = :tenant_id AND subject_id = :version_id AND type = 'version.audited'
  AND data ->> 'audit' = :audit_id
""")


async def of_version(
    session: AsyncSession, tenant_id: uuid.UUID, version_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[AnyRow]:
    bound = {"tenant_id": tenant_id, "version_id": version_id, "after": after, "limit": limit}
    return list((await session.execute(_OF_VERSION, bound)).all())


async def one(
    session: AsyncSession, tenant_id: uuid.UUID, version_id: uuid.UUID, audit_id: uuid.UUID
) -> AnyRow | None:
    bound = {"tenant_id": tenant_id, "version_id": version_id, "audit_id": str(audit_id)}
    return (await session.execute(_ONE, bound)).one_or_none()
