"""`python -m app.admin`: tenants, API keys, approvals and the audit log, for the operator, on the database.

Every command may be run twice. The functions serve the embedded deployment as well; they take a session
and leave the commit to the caller.
"""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.audit.export import exported
from app.auth import issuing
from app.auth.keys import Scope
from app.core.audit import audit_entry
from app.core.database import owner_engine
from app.core.errors import LetheError
from app.core.hashing import UnknownHashKey
from app.core.settings import Settings, get_settings
from app.core.storage import open_storage
from app.hash_keys import rotate_hash_key
from app.operator_decisions import approve_request, reject_request
from app.operator_keys import (
    OPERATOR,
    Refused,
    create_key,
    find_tenant,
    keys_of_all_tenants,
    revoke_key,
    rotate_key,
)
from app.operator_tenants import allow_root, create_tenant
from models import Artifact, Tenant
from models.states import ArtifactState


def set_quota(session: Session, name: str, instances_per_day: int | None) -> None:
    """How many instances the tenant may ask to be forgotten in a day without a person's word; None: as the
    settings say."""
    tenant_id = find_tenant(session, name)
    session.execute(update(Tenant).where(Tenant.id == tenant_id).values(instances_per_day=instances_per_day))
    session.execute(
        audit_entry(tenant_id, OPERATOR, "tenant.set_quota", tenant_id, instances_per_day=instances_per_day)
    )


# The command line.

cli = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
DatabaseURL = Annotated[
    str, typer.Option(envvar="LETHE_DATABASE_URL", help="PostgreSQL as lethe_app", show_default=False)
]


OwnerURL = Annotated[
    str, typer.Option(envvar="LETHE_OWNER_DATABASE_URL", help="PostgreSQL as the owner", show_default=False)
]


@contextmanager
def _session(url: str) -> Iterator[Session]:
    """As the owner, who alone sees every tenant at once when he says so; said by any other, it changes
    nothing."""
    try:
        engine = owner_engine(url)
        try:
            with Session(engine) as session, session.begin():
                yield session
        finally:
            engine.dispose()
    except (Refused, LetheError) as refused:
        _stop(getattr(refused, "detail", None) or str(refused))
    except (SQLAlchemyError, ImportError) as error:
        _stop(f"The database could not be used ({type(error).__name__}): check LETHE_DATABASE_URL.")


def _stop(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise typer.Exit(1)


@cli.command("create-tenant")
def _create_tenant(name: str, database_url: DatabaseURL, root: list[str] | None = None) -> None:
    """Make a tenant (or find it), and let it name data below each --root."""
    with _session(database_url) as session:
        tenant_id = create_tenant(session, name, root or [])
    print(tenant_id)


@cli.command("allow-root")
def _allow_root(tenant: str, url: str, database_url: DatabaseURL) -> None:
    """Let a tenant name data and checkpoints below a URL."""
    with _session(database_url) as session:
        allow_root(session, tenant, url)


@cli.command("set-quota")
def _set_quota(
    tenant: str,
    database_url: DatabaseURL,
    instances_per_day: Annotated[
        int | None, typer.Option(min=0, help="Without it: as LETHE_INSTANCES_PER_DAY says")
    ] = None,
) -> None:
    """How many instances a tenant may ask to be forgotten in a day without a person's approval."""
    with _session(database_url) as session:
        set_quota(session, tenant, instances_per_day)


Reason = Annotated[str, typer.Option(help="Kept with the request and in the audit log")]


@cli.command("approve")
def _approve(request: uuid.UUID, reason: Reason, database_url: DatabaseURL) -> None:
    """Have a deletion request carried out that waits for an approval, where no other administrator can."""
    with _session(database_url) as session:
        approve_request(session, request, reason)


@cli.command("reject")
def _reject(request: uuid.UUID, reason: Reason, database_url: DatabaseURL) -> None:
    """Do not have it carried out: it fails."""
    with _session(database_url) as session:
        reject_request(session, request, reason)


@cli.command("create-key")
def _create_key(
    tenant: str,
    name: Annotated[str, typer.Option(help="What the key is for")],
    scope: Annotated[list[str], typer.Option(help=", ".join(Scope))],
    database_url: DatabaseURL,
    expires_days: Annotated[int | None, typer.Option(min=1)] = None,
    model: Annotated[list[str] | None, typer.Option(help="The only models that it is for")] = None,
) -> None:
    """Make an API key and print it, this once."""
    with _session(database_url) as session:
        minted = create_key(session, tenant, name, scope, expires_days, model or ())
    print(minted.text)


@cli.command("rotate-key")
def _rotate_key(
    public_id: str,
    database_url: DatabaseURL,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=issuing.LONGEST_OVERLAP_HOURS, help="How long the old one still opens")
    ] = issuing.OVERLAP_HOURS,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Of the new one")] = None,
) -> None:
    """Make a key that takes another's place, with its scopes and models, and print it, this once."""
    with _session(database_url) as session:
        minted = rotate_key(session, public_id, overlap_hours, expires_days)
    print(minted.text)


@cli.command("revoke-key")
def _revoke_key(public_id: str, database_url: DatabaseURL) -> None:
    """Revoke a key at once."""
    with _session(database_url) as session:
        revoke_key(session, public_id)


@cli.command("list-keys")
def _list_keys(database_url: DatabaseURL) -> None:
    """Show every key without its secret: tenant, public id, name, scopes, state, models, last use, end."""
    with _session(database_url) as session:
        for columns in keys_of_all_tenants(session):
            print(*columns, sep="\t")


@cli.command("rotate-hash-key")
def _rotate_hash_key(owner_url: OwnerURL) -> None:
    """Bring all instance hashes under LETHE_HASH_KEY, from the keys in LETHE_OLD_HASH_KEYS. Restart API,
    relay and workers with both first. May be run twice."""
    settings = get_settings()
    with _session(owner_url) as session:
        tenants = session.execute(select(Tenant.id, Tenant.name).order_by(Tenant.id)).all()
    for tenant_id, name in tenants:
        with _session(owner_url) as session:
            moved = _rotated(session, tenant_id, settings)
        print(f"{name}\t{moved}")


def _rotated(session: Session, tenant_id: uuid.UUID, settings: Settings) -> int:
    try:
        return rotate_hash_key(session, tenant_id, settings)
    except UnknownHashKey as unknown:
        raise Refused(
            f"Hashes are under the key {unknown}: add it to LETHE_OLD_HASH_KEYS, oldest first."
        ) from None


@cli.command("rewrap-keys")
def _rewrap_keys(owner_url: OwnerURL) -> None:
    """Wrap the keys of all encrypted artifacts under the first key of LETHE_MASTER_KEY_FILE. Afterwards the
    other lines of the file can be removed. May be run twice."""
    storage = open_storage(get_settings())
    if storage.keys is None:
        _stop("Encryption is not switched on: set LETHE_MASTER_KEY_FILE and LETHE_KEY_STORE_URL.")
        return
    with _session(owner_url) as session:
        encrypted = list(session.scalars(select(Artifact.id).where(Artifact.state != ArtifactState.DELETED)))
    count = 0
    for artifact_id in encrypted:
        with _session(owner_url) as session:  # its row is held, so that no key comes back that is destroyed
            artifact = session.get_one(Artifact, artifact_id, with_for_update=True)
            if artifact.state != ArtifactState.DELETED:
                count += storage.keys.wrap_again(artifact.path)
    print(count)


@cli.command("export-audit")
def _export_audit(tenant: str, database_url: DatabaseURL) -> None:
    """Write a tenant's audit log, as far as it is signed, to standard output, for `lethe verify-audit`."""
    with _session(database_url) as session:
        for piece in exported(session, find_tenant(session, tenant)):
            sys.stdout.buffer.write(piece)
    sys.stdout.flush()


if __name__ == "__main__":
    cli()
