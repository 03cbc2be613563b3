"""verify, verify-audit: nothing is sent anywhere, and nothing is fetched."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lethe.audit_export import verify_audit_export
from lethe.certificate import verify_certificate
from lethe.commands.speaking import FAILED, AsJson, Commands, Speaker, speaking
from lethe.findings import Findings, NotVerified
from lethe.keys import read_keys

Keys = Annotated[
    list[Path],
    typer.Option(
        "--key",
        help="Public keys of the service: a PEM file, or its /.well-known/lethe-signing-keys.json "
        "(`lethe signing-keys --output`); may be repeated",
    ),
]


def verify(
    certificate: Annotated[Path, typer.Argument(help="A deletion certificate, or a bundle of them")],
    key: Keys,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The model's weights, to see whether they are those certified")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a deletion certificate, offline."""
    _check(as_json, lambda: verify_certificate(certificate, read_keys(key), checkpoint))


def verify_audit(
    export: Annotated[Path, typer.Argument(help="An export of the audit log")],
    key: Keys,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of the log that you kept, to see whether it was cut")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an export of the audit log, offline."""
    _check(as_json, lambda: verify_audit_export(export, read_keys(key), checkpoint))


def _check(as_json: bool, check: Callable[[], Findings]) -> None:
    with speaking(as_json) as speaker:
        try:
            found = check()
        except NotVerified as reason:
            _refuse(speaker, str(reason))
        except OSError as error:
            _refuse(speaker, f"{error.filename}: {error.strerror}.")
        else:
            speaker.show(
                {"verified": True} | asdict(found), lambda out: out.print(found.text(), markup=False)
            )


def _refuse(speaker: Speaker, reason: str) -> None:
    if speaker.as_json:
        speaker.document({"verified": False, "reason": reason})
    else:
        speaker.err.print(f"NOT VERIFIED. {reason}", markup=False, soft_wrap=True)
    raise typer.Exit(FAILED)


COMMANDS: Commands = {"verify": verify, "verify-audit": verify_audit}
