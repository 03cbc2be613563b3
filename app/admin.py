"""`python -m app.admin`: tenants, API keys and the audit log, for the operator, on the database itself.

Every command may be run twice. The functions serve the embedded deployment as well; they take a session
and leave the commit to the caller.
"""

import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.audit.export import exported
from app.auth import repository
from app.auth.keys import MintedKey, Scope, mint_key
from app.core.audit import audit_entry
from app.core.database import owner_engine
from app.core.errors import LetheError
from app.core.hashing import UnknownHashKey
from app.core.roots import canonical_url
from app.core.rows import AnyRow
from app.core.settings import Settings, get_settings
from app.core.sight import Sight, give_sight
from app.core.storage import open_storage
from app.hash_keys import rotate_hash_key
from models import Artifact, Tenant, time_ordered_id
from models.states import ArtifactState

OPERATOR = "operator"
_TENANT = text("SELECT id FROM names_of_tenants() WHERE name = :name")
_TENANTS = text("SELECT id, name FROM names_of_tenants() ORDER BY name")
_KEYS = text(
    "SELECT public_id, name, array_to_string(scopes, ',') AS scopes,"
    " CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired'"
    " ELSE 'active' END AS state FROM api_keys WHERE tenant_id = :tenant ORDER BY id"
)
_KEY = text("SELECT id, tenant_id, revoked_at FROM find_api_key(:public_id)")


class Refused(ValueError):
    """A command that cannot be carried out; the sentence says what to do instead."""


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


def create_key(
    session: Session,
    tenant: str,
    name: str,
    scopes: Sequence[str],
    expires_days: int | None = None,
) -> MintedKey:
    """A new key of that tenant; its text exists nowhere else."""
    unknown = sorted(set(scopes) - {str(scope) for scope in Scope})
    if unknown or not scopes:
        raise Refused(
            f"Scopes must be among {', '.join(Scope)}; not {', '.join(unknown) or 'an empty list'}."
        )
    tenant_id = find_tenant(session, tenant)
    expires_at = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
    minted = mint_key()
    listed = sorted(set(scopes))
    made = session.execute(repository.insert_key(tenant_id, minted, name, listed, expires_at)).one()
    session.execute(audit_entry(tenant_id, OPERATOR, "api_key.create", made.id, scopes=listed))
    return minted


def revoke_key(session: Session, public_id: str) -> None:
    """Revoke the key at once; a revoked key stays revoked."""
    key = _find_key(session, public_id)
    if key.revoked_at is None:
        session.execute(repository.revoke_key(key.tenant_id, key.id))
        session.execute(audit_entry(key.tenant_id, OPERATOR, "api_key.revoke", key.id))


def _find_key(session: Session, public_id: str) -> AnyRow:
    """As `find_tenant`, by a key."""
    key = session.execute(_KEY, {"public_id": public_id}).one_or_none()
    if key is None:
        raise Refused(f"There is no key with the public id {public_id}; list-keys shows them.")
    give_sight(session, Sight(key.tenant_id))
    return key


def find_tenant(session: Session, name: str) -> uuid.UUID:
    """From here on the session sees that tenant's rows, and no others. Raises `Refused`."""
    found: uuid.UUID | None = session.scalar(_TENANT, {"name": name})
    if found is None:
        raise Refused(f"There is no tenant named {name}; create-tenant makes one.")
    give_sight(session, Sight(found))
    return found


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


@cli.command("create-key")
def _create_key(
    tenant: str,
    name: Annotated[str, typer.Option(help="What the key is for")],
    scope: Annotated[list[str], typer.Option(help=", ".join(Scope))],
    database_url: DatabaseURL,
    expires_days: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Make an API key and print it, this once."""
    with _session(database_url) as session:
        minted = create_key(session, tenant, name, scope, expires_days)
    print(minted.text)


@cli.command("revoke-key")
def _revoke_key(public_id: str, database_url: DatabaseURL) -> None:
    """Revoke a key at once."""
    with _session(database_url) as session:
        revoke_key(session, public_id)


@cli.command("list-keys")
def _list_keys(database_url: DatabaseURL) -> None:
    """Show every key without its secret: tenant, public id, name, scopes, state."""
    with _session(database_url) as session:
        for tenant in session.execute(_TENANTS).all():
            give_sight(session, Sight(tenant.id))
            for row in session.execute(_KEYS, {"tenant": tenant.id}):
                print(tenant.name, *row, sep="\t")


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
