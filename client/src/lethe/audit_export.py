"""The audit log's export: a hash chain up to a signed checkpoint.

    hash = SHA-256(canonical JSON of {"entry": …, "position": n, "previous": hash of position n - 1})

The checkpoint signs the last hash, which depends on every byte before it. So a row that was removed, edited
or moved is found, unless whoever did it also has the private key.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from lethe.canonical import canonical, parse
from lethe.envelope import Statement, open_envelope
from lethe.findings import Findings, NotVerified

FORMAT, VERSION = "lethe-audit-export", 1
CHECKPOINT = "urn:lethe:statement:audit-checkpoint:v1"
GENESIS = "0" * 64
RESTORED = "audit.restored"


@dataclass(frozen=True)
class Restored:
    """An entry that says that the log was restored from an older backup. `lost`: the newest end that was
    signed before, as its own signature says."""

    position: int
    at: str
    lost: Statement


def verify_audit_export(file: Path, keys: list[SSlibKey], kept_checkpoint: Path | None = None) -> Findings:
    """Raises `NotVerified`. `kept_checkpoint`: one that was fetched earlier and kept elsewhere."""
    kept = _checkpoint(kept_checkpoint.read_bytes(), keys, "The kept checkpoint") if kept_checkpoint else None
    with file.open("rb") as lines:
        header = _header(next(lines, b""))
        hashes_at = {kept.predicate["position"]: ""} if kept else {}
        restored: list[Restored] = []
        last = _chained(lines, header, hashes_at, keys, restored)
        closing = _checkpoint(_line(next(lines, b""), "The last line"), keys, "The checkpoint of the export")
        if lines.read(1):
            raise NotVerified("There is something after the end of the export.")
    _agree(closing, header["tenant"], header["entries"], last, "The checkpoint of the export")
    if kept:
        position = kept.predicate["position"]
        _refuse_what_was_restored(header, kept, hashes_at[position], restored)
        if position > header["entries"]:
            raise NotVerified(
                f"The log was cut short: the kept checkpoint covers {position} entries, the export has "
                f"{header['entries']}. (An export that was made earlier is shorter, too: make a new one.)"
            )
        _agree(kept, header["tenant"], position, hashes_at[position], "The kept checkpoint")
    return _findings(header, closing, kept, restored)


def _header(line: bytes) -> dict[str, Any]:
    header = parse(_line(line, "The first line"), "The first line")
    expected = {"format", "version", "tenant", "entries"}
    if not isinstance(header, dict) or set(header) != expected or header["format"] != FORMAT:
        raise NotVerified("This is not an audit export of Lethe.")
    if header["version"] != VERSION or not isinstance(header["entries"], int):
        raise NotVerified(f"This export is of version {header['version']}; this program knows {VERSION}.")
    return header


def _chained(
    lines: Iterable[bytes],
    header: dict[str, Any],
    hashes_at: dict[int, str],
    keys: list[SSlibKey],
    restored: list[Restored],
) -> str:
    """Follow the chain; the last hash. Fills in the hashes at the positions that `hashes_at` asks for, and
    what the log says of having been restored."""
    last = GENESIS
    source = iter(lines)
    for position in range(1, header["entries"] + 1):
        what = f"Entry {position}"
        sealed = parse(_line(next(source, b""), what), what)
        if not isinstance(sealed, dict) or set(sealed) != {"position", "previous", "hash", "entry"}:
            raise NotVerified(f"{what} is missing, or is not an entry: rows were removed.")
        if sealed["position"] != position:
            raise NotVerified(
                f"Where entry {position} should be, there is entry {sealed['position']}: rows were "
                "removed or put in another order."
            )
        if sealed["previous"] != last:
            raise NotVerified(f"{what} does not follow the entry before it: rows were removed or moved.")
        covered = {"entry": sealed["entry"], "position": position, "previous": last}
        if hashlib.sha256(canonical(covered)).hexdigest() != sealed["hash"]:
            raise NotVerified(f"{what} is not what was sealed: it was edited.")
        if not isinstance(sealed["entry"], dict) or sealed["entry"].get("tenant") != header["tenant"]:
            raise NotVerified(f"{what} belongs to another tenant.")
        if sealed["entry"].get("action") == RESTORED:
            restored.append(_restored(sealed["entry"], position, keys))
        last = sealed["hash"]
        if position in hashes_at:
            hashes_at[position] = last
    return last


def _restored(entry: dict[str, Any], position: int, keys: list[SSlibKey]) -> Restored:
    """Only what is signed is believed."""
    what = f"The checkpoint that entry {position} names"
    try:
        lost = _checkpoint(entry["data"]["checkpoint"].encode(), keys, what)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotVerified(f"Entry {position} says that the log was restored, but not since when.") from error
    if lost.predicate.get("tenant") != entry["tenant"]:
        raise NotVerified(f"{what} is that of another tenant's log.")
    return Restored(position, str(entry.get("at")), lost)


def _refuse_what_was_restored(
    header: dict[str, Any], kept: Statement, found: str, restored: list[Restored]
) -> None:
    """Tell a kept checkpoint of entries that a restore lost from one of entries that were rewritten."""
    position = kept.predicate["position"]
    if kept.subjects == {f"audit-log/{header['tenant']}": found}:
        return
    for each in restored:
        if each.position <= position <= each.lost.predicate["position"]:
            raise NotVerified(
                f"The log was restored from an older backup: entry {each.position}, of {each.at}, says so, "
                f"and names the signed end of {each.lost.predicate['position']} entries that it had before. "
                f"The kept checkpoint covers {position} of those, and some of them are lost: this log shows "
                "only what was before the backup, and what came after the restore. Ask the operator for the "
                "reason, and keep a newer checkpoint."
            )


def _line(line: bytes, what: str) -> bytes:
    if not line.endswith(b"\n"):
        raise NotVerified(f"{what} is missing or incomplete: the export was cut short.")
    return line[:-1]


def _checkpoint(content: bytes, keys: list[SSlibKey], what: str) -> Statement:
    statement = open_envelope(content, keys, what)
    if statement.type != CHECKPOINT or not isinstance(statement.predicate.get("position"), int):
        raise NotVerified(f"{what} is a statement about something else: {statement.type}.")
    return statement


def _agree(checkpoint: Statement, tenant: str, position: int, head: str, what: str) -> None:
    if checkpoint.predicate["tenant"] != tenant:
        raise NotVerified(f"{what} is that of another tenant's log.")
    if checkpoint.predicate["position"] != position:
        raise NotVerified(f"{what} covers {checkpoint.predicate['position']} entries, not {position}.")
    if checkpoint.subjects != {f"audit-log/{tenant}": head}:
        raise NotVerified(f"{what} was signed under other entries: the log was rewritten since.")


def _findings(
    header: dict[str, Any], closing: Statement, kept: Statement | None, restored: list[Restored]
) -> Findings:
    signed_at = closing.predicate["signed_at"]
    findings = Findings(f"Audit log of tenant {header['tenant']}: {header['entries']} entries, verified.")
    findings.proven = [
        f"Entries 1 to {header['entries']} are what the service had sealed when it signed their end at "
        f"{signed_at}: none was removed, edited or put in another order since.",
        f"That signature was made with the key {closing.key_id}.",
    ]
    if kept:
        findings.proven.append(
            f"The log still contains all {kept.predicate['position']} entries that the kept checkpoint, "
            f"signed at {kept.predicate['signed_at']}, covers, unchanged."
        )
    else:
        findings.not_proven.append(
            "That nothing was cut off at the end: only a checkpoint that you kept from before can show it "
            "(--checkpoint)."
        )
    findings.not_proven += [
        f"What was in the log before it was restored from an older backup: entry {each.position}, of "
        f"{each.at}, says so. It had {each.lost.predicate['position']} entries then, signed at "
        f"{each.lost.predicate['signed_at']}, of which this log need not have the last ones."
        for each in restored
    ]
    findings.not_proven += [
        f"Anything that happened after {signed_at}: it is in a later export.",
        "That everything that happened was recorded, or that what was recorded is true.",
        "That the key belongs to the service: compare its id with one that you know from elsewhere.",
    ]
    return findings
