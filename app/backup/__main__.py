"""`python -m app.backup create|restore|reapply|check|sweep`, as the owner of the database."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import sessionmaker

from app.backup.checking import damaged_copies, damaged_versions
from app.backup.copying import copy_objects
from app.backup.dumping import DumpFailed, dump, load
from app.backup.reapplying import reapply_journal
from app.backup.reapplying_rows import ReappliedRows, reapply_rows
from app.backup.restored_log import record_lost_ends
from app.backup.sweeping import remove_unknown_objects
from app.core.database import owner_engine
from app.core.hashing import UnknownHashKey
from app.core.journal import DamagedEntry
from app.core.object_store import ObjectStore
from app.core.settings import get_settings
from app.core.storage import Storage, open_storage

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Argument(help="The folder of one backup")]
Programs = Annotated[
    Path | None, typer.Option(help="The folder of pg_dump and pg_restore; else the wheel's, or the PATH's")
]


@app.command()
def create(folder: Folder, programs: Programs = None, storage: bool = True) -> None:
    """Dump the database, then copy the storage: what the dump refers to was there before."""
    folder.mkdir(parents=True, mode=0o700)
    versions = dump(_owner_url(), folder / "database.dump", programs)
    settings = get_settings()
    copied = copy_objects(ObjectStore(settings.storage_url), _kept(folder)) if storage else 0
    typer.echo(f"The database and {copied} objects are in {folder}.")
    wrong = (
        list(damaged_copies(Storage(_url(folder), open_storage(settings).keys), versions)) if storage else []
    )
    for path, state in wrong:
        typer.echo(f"{path}, the bytes of a version, {state}: this backup cannot give it back.", err=True)
    if wrong:
        raise typer.Exit(1)


@app.command()
def restore(folder: Folder, programs: Programs = None, storage: bool = True) -> None:
    """Load the dump into an empty, migrated server, and copy the objects back. Then `reapply`."""
    copied = copy_objects(_kept(folder), ObjectStore(get_settings().storage_url)) if storage else 0
    load(_owner_url(), folder / "database.dump", programs)
    typer.echo(f"The database and {copied} objects are restored. Now run: python -m app.backup reapply")


@app.command()
def reapply() -> None:
    """Queue what was asked to be forgotten after the backup, before API and workers are started again."""
    engine = owner_engine(_owner_url())
    settings = get_settings()
    storage = open_storage(settings)
    lost = record_lost_ends(sessionmaker(engine), storage)  # first: what follows is on the new way
    try:
        done = reapply_journal(sessionmaker(engine), storage, settings)
    except UnknownHashKey:
        raise typer.BadParameter(
            "The journal is under another hash key than the database: run "
            "`python -m app.admin rotate-hash-key` first, with all keys in LETHE_OLD_HASH_KEYS."
        ) from None
    rows = reapply_rows(sessionmaker(engine), storage)
    engine.dispose()
    typer.echo(f"{lost} audit logs go on from an older end than was signed, and say so.")
    typer.echo(f"{done.queued} requests queued again, {done.cancelled} cancelled again.")
    typer.echo(f"{done.noticed} requests have the notice again that was given of their dates.")
    _say(rows)
    for request in done.impossible:
        typer.echo(f"Request {request} names a model that the backup does not have: register it again.")
    for path in [*done.damaged, *rows.damaged]:
        typer.echo(f"{path} is damaged: take it from another copy of the journal, and run this again.")
    if done.impossible or done.damaged or rows.damaged or rows.nothing_to_hold:
        raise typer.Exit(1)


@app.command()
def check() -> None:
    """Read every version that is served, and say which ones do not have their digest."""
    engine = owner_engine(_owner_url())
    damaged = list(damaged_versions(sessionmaker(engine), open_storage(get_settings())))
    engine.dispose()
    for line in damaged:
        typer.echo(line)
    if damaged:
        raise typer.Exit(1)
    typer.echo("Every version has its digest.")


@app.command()
def sweep() -> None:
    """After a restore: remove what the storage has of the time after the backup, and no row knows."""
    engine = owner_engine(_owner_url())
    try:
        swept = remove_unknown_objects(sessionmaker(engine), open_storage(get_settings()))
    except DamagedEntry as damaged:
        raise typer.BadParameter(str(damaged)) from None
    engine.dispose()
    typer.echo(f"{len(swept.removed)} objects removed that no artifact has.")
    if swept.held:
        typer.echo(f"{len(swept.held)} left, of tenants with a legal hold: run this again when it is lifted.")


def _say(rows: ReappliedRows) -> None:
    typer.echo(f"{rows.held} legal holds are in force again, {rows.lifted} lifted again.")
    typer.echo(
        f"{rows.policies} policies are as they were last decided, {rows.destroyed} models destroyed again."
    )
    typer.echo(f"{rows.opendsr} OpenDSR requests are answered and told of again.")
    for hold in rows.widened:
        typer.echo(
            f"Legal hold {hold} was on a version that the backup does not have: it is on the whole model."
        )
    for hold in rows.covered:
        typer.echo(f"Legal hold {hold} is covered by another on the model: place it again if that is lifted.")
    for hold in rows.nothing_to_hold:
        typer.echo(
            f"Legal hold {hold} is on a model that the backup does not have: sweep leaves its tenant's bytes."
        )
    for request in rows.without_request:
        typer.echo(
            f"OpenDSR request {request}: its deletion request was taken back, or cannot be asked again."
        )


def _kept(folder: Path) -> ObjectStore:
    return ObjectStore(_url(folder))


def _url(folder: Path) -> str:
    return f"file://{(folder / 'storage').absolute()}"


def _owner_url() -> str:
    url = get_settings().owner_database_url
    if url is None:
        raise typer.BadParameter("Set LETHE_OWNER_DATABASE_URL.")
    return url.get_secret_value()


if __name__ == "__main__":
    try:
        app()
    except DumpFailed as failed:
        typer.echo(str(failed), err=True)
        sys.exit(1)
