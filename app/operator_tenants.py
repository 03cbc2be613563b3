"""Tenants and the folders that they may name, as the operator makes them; the session is the caller's."""

import uuid
from collections.abc import Sequence

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.audit import audit_entry
from app.core.roots import canonical_url
from app.core.sight import Sight, give_sight
from app.operator_keys import OPERATOR, find_tenant
from models import Tenant, time_ordered_id


def create_tenant(session: Session, name: str, roots: Sequence[str] = ()) -> uuid.UUID:
    """The tenant's id; that of the existing tenant when the name is taken. Roots are added, never removed."""
    new = time_ordered_id()
    give_sight(session, Sight(new))
    made = session.scalar(
        insert(Tenant)
        .values(id=new, name=name)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(Tenant.id)
    )
    if made is not None:
        session.execute(audit_entry(made, OPERATOR, "tenant.create", made, name=name))
    tenant_id = made or find_tenant(session, name)
    for root in roots:
        allow_root(session, name, root)
    return tenant_id


def allow_root(session: Session, name: str, root: str) -> None:
    """Let the tenant name data and checkpoints below `root`."""
    tenant_id = find_tenant(session, name)
    url = canonical_url(root)
    added = session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id, ~Tenant.allowed_roots.contains([url]))
        .values(allowed_roots=func.array_append(Tenant.allowed_roots, url))
        .returning(Tenant.id)
    ).one_or_none()
    if added is not None:
        session.execute(audit_entry(tenant_id, OPERATOR, "tenant.allow_root", tenant_id, root=url))
