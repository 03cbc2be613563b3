"""`lethe verify-audit`: whatever was done to the log is found."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.audit.chain import GENESIS, link_hash
from app.audit.export import exported
from app.backup.restored_log import record_lost_ends
from app.core.audit import audit_entry
from app.core.canonical import canonical
from app.core.settings import Settings
from app.core.signing import StatementSigner
from app.core.storage import Storage
from app.relay.audit_journal import AuditJournal
from lethe.audit_export import verify_audit_export
from lethe.findings import NotVerified
from lethe.keys import read_keys
from tests.client.conftest import SOURCE, Done, Log
from tests.client.every_byte import unnoticed_changes
from tests.worker.world import World

Lines = list[bytes]


def swapped(lines: Lines) -> Lines:
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def edited(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b'"actor":"operator"', b'"actor":"nobody"'), *lines[4:]]


def rewritten(lines: Lines) -> Lines:
    """By somebody who knows how the chain is made, but has no key: entry 3 is gone, the rest moved up."""
    entries = [json.loads(line)["entry"] for line in [*lines[1:3], *lines[4:-1]]]
    previous, made = GENESIS, []
    for position, entry in enumerate(entries, 1):
        digest = link_hash(entry, position, previous)
        sealed = {"position": position, "previous": previous.hex(), "hash": digest.hex(), "entry": entry}
        made.append(canonical(sealed) + b"\n")
        previous = digest
    header = json.loads(lines[0]) | {"entries": len(made)}
    return [canonical(header) + b"\n", *made, lines[-1]]


def cut(lines: Lines) -> Lines:
    header = json.loads(lines[0]) | {"entries": 3}
    return [canonical(header) + b"\n", *lines[1:4], lines[-1]]


CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "one removed": (lambda lines: [*lines[:3], *lines[4:]], "rows were removed"),
    "the first removed": (lambda lines: [lines[0], *lines[2:]], "rows were removed"),
    "edited": (edited, "Entry 3 is not what was sealed: it was edited"),
    "reordered": (swapped, "put in another order"),
    "rewritten": (rewritten, "covers 5 entries, not 4"),
    "cut": (cut, "covers 5 entries, not 3"),
    "without an end": (lambda lines: lines[:-1], "cut short"),
    "something after the end": (lambda lines: [*lines, lines[1]], "after the end"),
    "a space": (lambda lines: [*lines[:2], b" " + lines[2], *lines[3:]], "not written as it was issued"),
}


def test_a_changed_export_is_found(log: Log, key: Path) -> None:
    file = log.export()
    verify_audit_export(file, read_keys([key]))
    lines = file.read_bytes().splitlines(keepends=True)
    for change, says in CHANGES.values():
        file.write_bytes(b"".join(change(lines)))
        with pytest.raises(NotVerified, match=says):
            verify_audit_export(file, read_keys([key]))


def test_any_row_that_is_removed_edited_or_moved_is_found(log: Log, key: Path) -> None:
    """Not only those in the middle: each of them, and each put before any other."""
    file, keys = log.export(), read_keys([key])
    header, *rows, end = file.read_bytes().splitlines(keepends=True)

    def refused(changed: Lines, count: int) -> None:
        told = canonical(json.loads(header) | {"entries": count}) + b"\n"
        file.write_bytes(b"".join([told, *changed, end]))
        with pytest.raises(NotVerified):
            verify_audit_export(file, keys)

    for at, row in enumerate(rows):
        others = [*rows[:at], *rows[at + 1 :]]
        refused(others, len(others))
        entry = json.loads(row)
        for member, value in entry["entry"].items():
            entry["entry"] |= {member: "another"}
            refused([*rows[:at], canonical(entry) + b"\n", *rows[at + 1 :]], len(rows))
            entry["entry"] |= {member: value}
        for to in range(len(rows)):
            if to != at:
                refused([*others[:to], row, *others[to:]], len(rows))
    file.write_bytes(b"".join([header, *rows, end]))
    verify_audit_export(file, keys)


def test_no_byte_of_an_export_can_be_changed_or_left_out(log: Log, key: Path) -> None:
    file, keys = log.export(), read_keys([key])
    assert unnoticed_changes(file, lambda: verify_audit_export(file, keys)) == []


TAMPERING = {
    "UPDATE audit_log SET actor = 'nobody' WHERE id = (SELECT min(id) + 2 FROM audit_log)": "edited",
    "DELETE FROM audit_log WHERE id = (SELECT min(id) + 2 FROM audit_log)": "rows were removed",
    "UPDATE audit_seals SET entry_id = -entry_id WHERE position IN (2, 3);"
    "UPDATE audit_seals seal SET entry_id = other.entry_id FROM"
    " (SELECT position, -entry_id AS entry_id FROM audit_seals WHERE position IN (2, 3)) other"
    " WHERE seal.position IN (2, 3) AND seal.position <> other.position": "edited",
    "DELETE FROM audit_log WHERE id > (SELECT min(id) + 3 FROM audit_log);"
    "DELETE FROM audit_seals WHERE position > 4": "rows were removed",
}


def test_what_an_owner_of_the_database_changes_is_found(world: World, log: Log, key: Path) -> None:
    """Rows edited, removed, reordered and cut off, with triggers and foreign keys switched off, as only a
    superuser can."""
    file = log.export()
    for statements, says in TAMPERING.items():
        with Session(world.engine) as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements.split(";"):
                session.execute(text(statement))
            file.write_bytes(b"".join(exported(session, log.tenant)))
            session.rollback()
        with pytest.raises(NotVerified, match=says):
            verify_audit_export(file, read_keys([key]))


def test_a_log_that_was_cut_and_signed_anew_is_found_by_who_kept_a_checkpoint(
    world: World, log: Log, key: Path
) -> None:
    """Nothing else could find it: it is a shorter log, signed with the right key."""
    kept = log.checkpoint()
    log.grow(2)
    assert "all 5 entries" in verify_audit_export(log.export(), read_keys([key]), kept).text()
    with world.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM audit_seals WHERE position > 3"))
        connection.execute(text("DELETE FROM audit_checkpoints"))
    log.grow(0)
    verify_audit_export(log.export(), read_keys([key]))
    with pytest.raises(
        NotVerified, match="cut short: the kept checkpoint covers 5 entries, the export has 3"
    ):
        verify_audit_export(log.export(), read_keys([key]), kept)


def test_a_log_that_was_rewritten_is_found_by_who_kept_a_checkpoint(
    world: World, log: Log, key: Path
) -> None:
    kept = log.checkpoint()
    with world.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM audit_seals"))
        connection.execute(text("DELETE FROM audit_checkpoints"))
        connection.execute(
            text("UPDATE audit_log SET actor = 'nobody' WHERE id = (SELECT min(id) FROM audit_log)")
        )
        connection.execute(text("INSERT INTO audit_unsealed SELECT id FROM audit_log"))
    log.grow(1)
    verify_audit_export(log.export(), read_keys([key]))
    with pytest.raises(NotVerified, match="signed under other entries"):
        verify_audit_export(log.export(), read_keys([key]), kept)


def test_a_log_that_was_restored_from_an_older_backup_says_so(
    world: World, log: Log, key: Path, settings: Settings
) -> None:
    """To who kept a later checkpoint it is another log, and not one that somebody rewrote."""
    storage, keys = Storage(settings.storage_url), read_keys([key])
    assert AuditJournal(log.sessions, storage).write() == 1
    log.grow(2)
    relay = AuditJournal(log.sessions, storage)
    assert (relay.write(), relay.write()) == (1, 0)
    kept = log.checkpoint()
    with world.engine.begin() as connection:  # as it was after the third entry
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM audit_log WHERE id > (SELECT min(id) + 2 FROM audit_log)"))
        connection.execute(text("DELETE FROM audit_seals WHERE position > 3"))
        connection.execute(text("DELETE FROM audit_checkpoints"))
    log.grow(0)
    assert AuditJournal(log.sessions, storage).write() == 0  # the journal's must not be lost
    with pytest.raises(NotVerified, match="cut short"):
        verify_audit_export(log.export(), keys, kept)

    owner = sessionmaker(world.engine)
    assert (record_lost_ends(owner, storage), record_lost_ends(owner, storage)) == (1, 0)
    log.grow(1)
    assert AuditJournal(log.sessions, storage).write() == 1
    for more in (0, 4):  # while it is shorter than it was, and when it is longer
        log.grow(more)
        with pytest.raises(NotVerified, match=r"restored from an older backup: entry 4.* 7 entries"):
            verify_audit_export(log.export(), keys, kept)
    found = verify_audit_export(log.export(), keys, log.checkpoint()).text()
    assert "all 9 entries" in found
    assert "It had 7 entries then" in found
    assert record_lost_ends(owner, storage) == 0


def test_nobody_can_say_that_a_log_was_restored_without_a_signed_end(log: Log, key: Path) -> None:
    with log.sessions.begin() as session:
        session.execute(audit_entry(log.tenant, "operator", "audit.restored", checkpoint="{}"))
    log.grow(0)
    with pytest.raises(NotVerified, match="The checkpoint that entry 6 names"):
        verify_audit_export(log.export(), read_keys([key]))


def test_the_signature_must_be_of_a_given_key(log: Log, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(StatementSigner(bytes(32)).public_key)
    with pytest.raises(NotVerified, match="not among the given ones"):
        verify_audit_export(log.export(), read_keys([other]))


def test_the_command_says_what_is_and_what_is_not_proven(
    log: Log, key: Path, command: Callable[..., Done]
) -> None:
    file, kept = log.export(), log.checkpoint()
    done = command("verify-audit", file, "--key", key, "--checkpoint", kept)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Entries 1 to 5" in done.stdout
    assert "NOT proven:\n  - Anything that happened after" in done.stdout
    file.write_bytes(file.read_bytes()[:-40])
    done = command("verify-audit", file, "--key", key)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("NOT VERIFIED. ")


def test_the_command_needs_neither_the_service_nor_torch(command: Callable[..., Done]) -> None:
    assert "verify-audit" in command("--help").stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import lethe.command, sys; print(' '.join(sys.modules))"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "lethe.command" in loaded
    assert not {"app", "models", "torch", "fastapi", "sqlalchemy", "pydantic"} & set(loaded)
